"""What a handful of labelled defects adds to good images: a curve over their number.

    python benchmarks/few_anomalies.py --data DIR [--counts 0 1 5 10 20] [--output DIR]

DIR is one part in MVTec-AD's layout with masks, e.g. `magnetic_tile` of CLAD_BENCHMARK_DATA. Recipe
`few_anomalies` with that many defects of each type in training. The largest number is reserved in
every run, so all rows are tested on the same images, none of which was trained on; the row of 0 is
`clad_folder`, good images alone. Intervals are 95 % percentile bootstraps over test images.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from clad.cli.demo import expect_packages, find_recipe
from clad.cli.session import Session, open_session
from clad.cli.stages import evaluate_test, train
from clad.metrics.bootstrap import bootstrap_intervals
from clad.metrics.evaluate import evaluate

CLAIM = "What a handful of labelled defects adds to good images"
PEER = "good images alone"
NEEDS = ("offline", "data")

_COLUMNS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro")


def run(folder: Path, count: int, reserved: int, output: Path) -> Session:
    """The recipe with ``count`` defects of each type, trained and tested."""
    recipe = find_recipe("few_anomalies.yaml" if count else "clad_folder.yaml")
    words = [
        f"--config={recipe}",
        f"--data.root={folder}",
        f"--data.anomalies_per_type={count}",
        f"--data.reserved_per_type={reserved}",
        f"--trainer.default_root_dir={output / f'{count:02d}'}",
    ]
    session = open_session("fit", words, "clad fit")
    train(session)
    evaluate_test(session)
    return session


def line(session: Session, count: int, seconds: float) -> str:
    """A row of the table."""
    found = session.task.collected
    assert found is not None
    means = evaluate(found).mean
    interval = bootstrap_intervals(found.scores, found.labels, found.categories).mean["image_auroc"]
    numbers = "".join(f"{means[column]:13.3f}" for column in _COLUMNS)
    span = f"{interval.low:.3f} to {interval.high:.3f}"
    return f"{count:8}{numbers}   {span}{seconds:8.0f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description="labelled defects per type, and what they add")
    base = os.environ.get("CLAD_BENCHMARK_DATA")
    default = None if base is None else Path(base) / "magnetic_tile"
    parser.add_argument("--data", type=Path, default=default, help="a part in MVTec-AD's layout")
    parser.add_argument("--counts", type=int, nargs="+", default=[0, 1, 5, 10, 20])
    parser.add_argument("--output", type=Path, help="where the runs are kept")
    wanted = parser.parse_args(argv)
    if wanted.data is None:
        parser.error("expected --data DIR or CLAD_BENCHMARK_DATA, got neither")
    expect_packages()
    output = wanted.output or Path(tempfile.mkdtemp(prefix="few_anomalies_"))
    lines, tested = [], None
    for count in wanted.counts:
        began = time.perf_counter()
        session = run(wanted.data, count, max(wanted.counts), output)
        images = {sample.image_path for sample in session.data.splits.test}
        assert tested in (None, images), "every row is tested on the same images"
        tested = images
        lines.append(line(session, count, time.perf_counter() - began))
    print(f"\n{wanted.data.name}, {len(tested or ())} test images")
    header = "".join(f"{name:>13}" for name in _COLUMNS)
    print(f"{'per type':8}{header}   image AUROC, 95 %       s")
    print("\n".join(lines))
    print(f"runs: {output}")


if __name__ == "__main__":
    main()
