"""``clad robustness RUN``: a finished run on compressed, blurred, noisy and resized test images."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clad.cli.config_files import files_first
from clad.cli.errors import DONE, Parser, UsageError

if TYPE_CHECKING:
    from clad.cli.session import Session
    from clad.protocols.robustness import RobustnessRow
    from clad.samples import Sample

_OURS = ("--config", "-c", "--ckpt_path", "--trainer.default_root_dir")


def run(verb: str, arguments: list[str]) -> int:
    """Test a run on its test images as they are and after each degradation.

    Prints one table and writes ``robustness.json``, ``robustness.csv`` and ``robustness.png``.

    Raises:
        FileNotFoundError: If the run, its checkpoint or its data is missing.
        ValueError: If a kind of degradation is unknown, or the run brings what an option names.
    """
    wanted, options = _parser(verb).parse_known_args(arguments)
    for word in options:
        if word.partition("=")[0] in _OURS:
            raise UsageError(
                f"expected no {word.partition('=')[0]}, because the run brings its own; choose "
                "where to write with --output"
            )
    # What is imported here takes longer than everything above.
    from clad.cli.session import open_session
    from clad.data.degraded import draw_samples
    from clad.reports.robustness import columns_of, write_robustness
    from clad.tasks.recipe import run_files

    config, checkpoint = run_files(wanted.run)
    folder: Path = wanted.output or config.parent
    command = shlex.join(["clad", verb, *arguments])
    words = files_first(["--config", str(config), *options])
    place = ["--trainer.default_root_dir", str(folder)]
    session = open_session("test", [*words, *place], command)
    samples = draw_samples(session.data.splits.test, wanted.limit, wanted.seed)
    session.task.attach(session.data.class_names)
    session.task.load_weights(checkpoint)
    rows = _measure(session, samples, wanted)
    _print(rows, session.task.threshold_source)
    figure = write_robustness(
        folder,
        rows,
        {
            "command": command,
            "checkpoint": str(checkpoint),
            "metrics": columns_of(rows),
            **_facts(session, samples, wanted.seed),
        },
    )
    print(f"curve: {figure}\nresults: {folder}")
    return DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        usage=f"clad {verb} RUN [--data.root DIR] [--kinds a,b] [--limit N] [options of clad test]",
        description="Test a finished run on its own test images as they are, and compressed, "
        "blurred, noisy, shrunk and encoded again; real and fake alike, at their stored size.",
        epilog="Other options are those of `clad test`, such as --data.root DIR.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory of `clad fit`")
    parser.add_argument(
        "--kinds", metavar="a,b",
        help="which of jpeg, blur, noise, resize, reencode; default all",
    )  # fmt: skip
    parser.add_argument(
        "--limit", metavar="N", type=int,
        help="about N of the test images, with the share of each category and label",
    )  # fmt: skip
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="of the noise and of --limit"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="where results go; default the run directory"
    )
    return parser


def _measure(session: Session, samples: Sequence[Sample], wanted: Namespace) -> list[RobustnessRow]:
    from clad.data.degrade import list_degradations
    from clad.protocols.robustness import measure_robustness
    from clad.reports.tables import format_fraction

    degradations = list_degradations(wanted.kinds.split(",") if wanted.kinds else None)
    num_fake = sum(sample.label for sample in samples)
    print(
        f"{len(samples) - num_fake} normal and {num_fake} anomalous test images, "
        f"{len(degradations)} degradations",
        flush=True,
    )

    def tell(row: RobustnessRow) -> None:
        auroc = format_fraction(row.value("image_auroc"))
        print(f"{row.name}: image AUROC {auroc}, {row.seconds:.0f} s", flush=True)

    data = session.data
    return measure_robustness(
        session.task.to(session.trainer.strategy.root_device),
        samples,
        data.image_size,
        degradations,
        seed=wanted.seed,
        batch_size=data.test_batch_size,
        num_workers=data.num_workers,
        tell=tell,
    )


def _print(rows: Sequence[RobustnessRow], threshold_source: str) -> None:
    from clad.protocols.robustness import largest_loss
    from clad.reports.robustness import to_text

    print(f"\n{to_text(rows)}")
    for sentence in rows[0].undefined:
        print(f"undefined: {sentence}")
    worst = largest_loss(rows, "image_auroc")
    if worst is not None:
        print(f"largest loss of image AUROC: {worst[1]:.3f}, by {worst[0].name}")
    print(f"threshold: {threshold_source}")


def _facts(session: Session, samples: Sequence[Sample], seed: int) -> dict[str, Any]:
    num_anomalous = sum(sample.label for sample in samples)
    return {
        "seed": seed,
        "num_normal": len(samples) - num_anomalous,
        "num_anomalous": num_anomalous,
        "image_size": list(session.data.image_size),
        "applied_to": "the stored image, before it is resized to the model",
        "threshold": session.task.thresholds,
        "threshold_source": session.task.threshold_source,
    }
