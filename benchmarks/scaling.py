"""Time and memory of testing against the number of images: a table, straightness, and a plot.

    python benchmarks/scaling.py [--images 250 500 1000 2000 4000] [--plot FILE] [--whole]

Each count runs in a process of its own. Ours is what `clad test` does between a head and the
report; beside it the exact metrics on stored maps, where 16 bytes per pixel fit into half of the
free memory. Maps are made as they are asked for, and making them is not timed.

With --whole it is `clad test` itself, from its start to its end: the recipe `few_shot` on copies of
made-up images (it needs the extra `offline`). Nothing is beside it then.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from child import Child, run_command, run_function
from harness import Claim, Measured, add_arguments, alternate, main_guard, report
from made_up_maps import ALLOCATOR

CLAIM = "testing takes time in proportion to the images, and memory that does not grow with them"
PEER = "exact metrics on stored maps"
NEEDS = ()

COUNTS = (250, 500, 1000, 2000, 4000)
STRAIGHTNESS, LARGEST_GROWTH = 0.99, 1.1
_BYTES_PER_PIXEL = 16
_PART = "metal_nut"


def main() -> int:
    """Print the table; 1 if a claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    parser.add_argument("--images", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--side", type=int, default=512, help="of the maps, in pixels")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the lines there, too")
    parser.add_argument("--whole", action="store_true", help="`clad test` itself, on image files")
    add_arguments(parser, rounds=1)
    wanted = parser.parse_args()
    counts = sorted(wanted.images)
    if len(counts) < 2 or counts[0] < 1:
        raise ValueError(f"expected at least two numbers of images, got {counts}")
    rows = whole(counts, wanted.rounds) if wanted.whole else metrics(counts, wanted)
    ours = rows["clad"]
    claims = [
        Claim(
            "straightness of time (R2)",
            straightness(counts, [median_of(row, "seconds") for row in ours]),
            at_least=STRAIGHTNESS,
            unit="",
        ),
        Claim(
            f"memory, {counts[-1]:,} over {counts[0]:,} images",
            median_of(ours[-1], "mib") / median_of(ours[0], "mib"),
            at_most=LARGEST_GROWTH,
        ),
    ]
    if wanted.plot is not None:
        draw(wanted.plot, counts, rows)
    flat = [row for way in rows.values() for row in way]
    packages = ["numpy", "torch"]
    return report(CLAIM, flat, claims, packages=packages, wanted=wanted)


def metrics(counts: Sequence[int], wanted: argparse.Namespace) -> dict[str, list[Measured]]:
    """Metrics alone, of either way, by number of images."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    rows: dict[str, list[Measured]] = {"clad": [], "stored": []}
    for count in counts:
        ways = {"clad": "ours"}
        if count * wanted.side**2 * _BYTES_PER_PIXEL < free / 2:
            ways["stored"] = "stored"
        for way, function in reversed(ways.items()):
            values: dict[str, list[float]] = {"seconds": [], "mib": []}
            for _ in range(wanted.rounds):
                place = f"made_up_maps:{function}"
                found = run_function(place, ALLOCATOR, num_images=count, side=wanted.side).values
                values["seconds"].append(float(found["metric_seconds"]))
                values["mib"].append(float(found["own_mib"]))
            rows[way].append(_row(f"{way}, {count:,} images", values))
    return rows


def whole(counts: Sequence[int], rounds: int) -> dict[str, list[Measured]]:
    """`clad test` in processes of its own; the training once."""
    clad = [sys.executable, "-m", "clad"]
    with tempfile.TemporaryDirectory(prefix="scaling_") as scratch:
        roots = {count: write_images(Path(scratch) / f"{count}", count) for count in counts}
        run = Path(scratch) / "run"
        words = ["--data.root", str(roots[counts[0]]), "--trainer.default_root_dir", str(run)]
        run_command([*clad, "fit", "--config", "configs/recipes/few_shot.yaml", *words])
        trained = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run)]

        def tested(count: int) -> Child:
            place = ["--trainer.default_root_dir", f"{scratch}/test_{count}"]
            return run_command([*clad, "test", *trained, "--data.root", str(roots[count]), *place])

        rows = []
        for count in counts:
            name = f"clad test, {count:,} images"
            found = alternate(rounds, {name: lambda count=count: tested(count)})[name]
            values = {"seconds": list(found.seconds), "mib": list(found.peak_mib)}
            rows.append(_row(name, values))
    return {"clad": rows}


def write_images(root: Path, count: int) -> Path:
    """One category in the layout of MVTec-AD with this many test images, most of them links."""
    from clad.data.tiny import save_category

    save_category(root / _PART, np.random.default_rng(0), 0, num_train=24, num_test=8)
    originals = sorted((root / _PART / "test" / "good").iterdir())
    there = sum(1 for path in (root / _PART / "test").glob("*/*"))
    for number in range(count - there):
        path = originals[number % len(originals)]
        os.link(path, path.with_name(f"copy_{number:05d}{path.suffix}"))
    return root


def straightness(counts: Sequence[int], values: Sequence[float]) -> float:
    """R2 of a line through the values."""
    slope, start = np.polyfit(counts, values, 1)
    left = np.asarray(values) - (slope * np.asarray(counts) + start)
    spread = np.asarray(values) - np.mean(values)
    return float(1 - (left @ left) / (spread @ spread))


def median_of(row: Measured, column: str) -> float:
    """A cell of a row, as a number."""
    return float(row.values[column])


def draw(path: Path, counts: Sequence[int], rows: dict[str, list[Measured]]) -> None:
    """Two panels: seconds and MiB against the number of images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, column, title in zip(panels, ("seconds", "mib"), ("seconds", "MiB"), strict=True):
        for name, way in rows.items():
            shown = [median_of(row, column) for row in way]
            axes.plot(counts[: len(shown)], shown, marker="o", label=name)
        axes.set(xlabel="test images", ylabel=title, xlim=0, ylim=0)
        axes.legend()
    figure.savefig(path, dpi=150)


def _row(name: str, values: dict[str, list[float]]) -> Measured:
    return Measured(name, values={key: float(np.median(each)) for key, each in values.items()})


if __name__ == "__main__":
    main_guard(main)
