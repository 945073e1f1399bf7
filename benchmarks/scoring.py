"""A folder of photos scored from a cold process: `anomalib predict` and `clad score`.

    python benchmarks/scoring.py [--images 200] [--rows 2000] [--rounds 3]
    python benchmarks/scoring.py --images 8 --good 8 --rows 200 --rounds 1

Photos are drawn here: 1,024 x 1,024 PNG files of smooth colours under noise, hardly compressible,
as photographs are. Both detectors are fitted once, outside the timing, on the same good photos:
patches of EfficientNet-Lite0 with the same packaged weights, strides 8 and 16 at 256 px, banks of
`--rows` patches; anomalib's ratio is set to that, everything else is its default. Then whole
processes are timed in turn, as a user types them.

Each writes its usual pictures; anomalib's have the size of its maps (256 px), clad's 512 px. Rows
"no pictures" write scores only (anomalib keeps them in memory). The first call of clad fills a
cache in an empty folder, the others read it. anomalib has no cache; files lie in the system's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from child import Child, run_command, run_function
from harness import Claim, add_arguments, alternate, main_guard, ratio, report
from PIL import Image
from start_up import program

CLAIM = (
    "a folder of 1,024 x 1,024 PNG photos is scored by a cold process at least 3 times sooner "
    "from the second call on"
)
PEER = "anomalib predict"
NEEDS = ("anomalib", "offline")

AT_LEAST = 3
_ARCHITECTURE = "tf_efficientnet_lite0"
_LAYERS = ["blocks.2", "blocks.4"]
"""Ends of strides 8 and 16."""
_PATCHES = 32 * 32
_RECIPE = Path(__file__).parents[1] / "configs" / "recipes" / "patch_memory.yaml"
_NO_PICTURES = "no pictures"


def main() -> int:
    """Print the table; 1 if the claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    add_arguments(parser, rounds=3)
    parser.add_argument("--images", type=int, default=200, help="photos in the folder")
    parser.add_argument(
        "--good", type=int, default=30, help="photos that the detectors are fitted on"
    )
    parser.add_argument("--rows", type=int, default=2000, help="patches in each bank")
    parser.add_argument("--side", type=int, default=1024, help="of the photos, in pixels")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scoring_") as scratch:
        place = Path(scratch)
        draw_photos(place / "parts", wanted.images, wanted.side, seed=0)
        draw_photos(place / "data" / "good", wanted.good, wanted.side, seed=1)
        draw_photos(place / "data" / "bad", 2, wanted.side, seed=2)
        # Else its choice of patches leaves a hole of the features' size in the heap at each step.
        theirs = run_function(
            "scoring:fit_anomalib",
            environment={"MALLOC_MMAP_THRESHOLD_": "1000000"},
            root=place / "data",
            folder=place / "anomalib",
            rows=wanted.rows,
        )
        run = fit_clad(place, wanted.rows)
        cache = place / "cache"
        score_by_clad(place, run, cache)()
        ways = {
            PEER: predict_by_anomalib(place, str(theirs.values["checkpoint"])),
            "clad score, first call": score_by_clad(place, run),
            "clad score, from cache": score_by_clad(place, run, cache),
            f"{PEER}, {_NO_PICTURES}": predict_by_anomalib(
                place, str(theirs.values["checkpoint"]), "--model.visualizer=false"
            ),
            f"clad score, from cache, {_NO_PICTURES}": score_by_clad(
                place, run, cache, "--maps=none"
            ),
        }
        found = alternate(wanted.rounds, ways)
    peer, first, cached, quiet_peer, quiet = found.values()
    claims = [
        Claim("seconds, anomalib over clad from cache", ratio(peer, cached), at_least=AT_LEAST),
        Claim("processor seconds, likewise", ratio(peer, cached, "cpu_seconds")),
        Claim("seconds, anomalib over clad's first call", ratio(peer, first)),
        Claim(f"seconds, both with {_NO_PICTURES}", ratio(quiet_peer, quiet)),
    ]
    notes = [f"bank rows: anomalib {theirs.values['bank rows']:.0f}, clad {wanted.rows}"]
    packages = ["anomalib", "torch", "timm", "lightning", "pillow"]
    return report(CLAIM, found.values(), claims, packages=packages, wanted=wanted, notes=notes)


def draw_photos(folder: Path, count: int, side: int, seed: int) -> None:
    """``000.png`` and so on: colours that change over 16 pixels, and noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse = rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) + rng.normal(0, 6, (side, side, 3))
        photo = np.clip(noisy, 0, 255).astype(np.uint8)
        Image.fromarray(photo).save(folder / f"{number:03d}.png", compress_level=1)


def fit_clad(place: Path, rows: int) -> Path:
    """Run directory of `clad fit` on the good photos."""
    run = place / "clad"
    words = [
        f"--config={_RECIPE}",
        f"--data.root={place / 'data'}",
        f"--trainer.default_root_dir={run}",
        f"--model.head.init_args.size={rows}",
    ]
    run_command([*program("clad"), "fit", *words])
    return run


def score_by_clad(
    place: Path, run: Path, cache: Path | None = None, *words: str
) -> Callable[[], Child]:
    """A process of `clad score`; with a new cache each time where none is given."""

    def work() -> Child:
        output = Path(tempfile.mkdtemp(dir=place))
        kept = cache or output / "cache"
        named = [f"--model={run}", f"--output={output}", f"--cache={kept}"]
        child = run_command([*program("clad"), "score", str(place / "parts"), *named, *words])
        return _rated(child, place, output / "maps")

    return work


def predict_by_anomalib(place: Path, checkpoint: str, *words: str) -> Callable[[], Child]:
    """A process of `anomalib predict` on the folder."""

    def work() -> Child:
        output = Path(tempfile.mkdtemp(dir=place))
        named = [
            "--model=Patchcore",
            f"--model.backbone={_ARCHITECTURE}",
            f"--model.layers=[{','.join(_LAYERS)}]",
            "--model.pre_trained=false",
            f"--ckpt_path={checkpoint}",
            f"--data={place / 'parts'}",
            f"--default_root_dir={output}",
        ]
        child = run_command([*program("anomalib"), "predict", *named, *words], cwd=place)
        return _rated(child, place, output)

    return work


def _rated(child: Child, place: Path, pictures: Path) -> Child:
    """With images per second, and how many pictures were written."""
    count = len(list((place / "parts").iterdir()))
    written = len(list(pictures.rglob("*.png"))) if pictures.is_dir() else 0
    values = {"images per s": count / child.seconds, "pictures": float(written)}
    return Child(child.seconds, child.cpu_seconds, child.peak_mib, values, child.output)


def fit_anomalib(root: str, folder: str, rows: int) -> dict[str, float | str]:
    """Fit Patchcore on good photos as anomalib's documentation does, with the packaged weights.

    Args:
        root: Folder with ``good`` and ``bad``, of which anomalib takes its test and validation.
        folder: Where the checkpoint goes.
        rows: Patches in the bank.
    """
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Patchcore
    from patchcore import load_packaged_weights

    data = Folder(name="photos", root=root, normal_dir="good", abnormal_dir="bad")
    data.prepare_data()
    data.setup()
    model = Patchcore(
        backbone=_ARCHITECTURE,
        layers=_LAYERS,
        pre_trained=False,
        coreset_sampling_ratio=(rows + 0.5) / (len(data.train_data) * _PATCHES),
    )
    load_packaged_weights(model.model.feature_extractor.feature_extractor)
    engine = Engine(default_root_dir=folder)
    engine.fit(model=model, datamodule=data)
    checkpoint = Path(folder) / "fitted.ckpt"
    engine.trainer.save_checkpoint(checkpoint)
    return {"checkpoint": str(checkpoint), "bank rows": float(len(model.model.memory_bank))}


if __name__ == "__main__":
    main_guard(main)
