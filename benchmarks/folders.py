"""`clad` from good images alone beside a plain patch memory, on folders with masks.

    python benchmarks/folders.py DIR [DIR ...]
    CLAD_BENCHMARK_DATA=DIR python benchmarks/folders.py mvtec_ad/transistor magnetic_tile

Each folder is one part in the layout of MVTec-AD. Recipe `clad_folder` as it ships, thresholds and
fusion scales from held-out good images, metrics on the test images; the memory of
`benchmarks/patch_memory.py` sees the same training images through the same backbone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from patch_memory import memory_predictions

from clad.cli.demo import expect_packages, find_recipe
from clad.cli.session import open_session
from clad.cli.stages import evaluate_test, train
from clad.metrics.evaluate import Evaluation, evaluate

_COLUMNS = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_aupro")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="clad beside a plain patch memory, folders")
    parser.add_argument("folders", nargs="+", type=Path, help="folders in MVTec-AD's layout")
    parser.add_argument("--output", type=Path, help="where the runs are kept")
    wanted = parser.parse_args()
    expect_packages()
    output = wanted.output or Path(tempfile.mkdtemp(prefix="folders_"))
    base = Path(os.environ.get("CLAD_BENCHMARK_DATA", ""))
    recipe = str(find_recipe("clad_folder.yaml"))
    lines: list[tuple[str, str, Evaluation, float]] = []
    for folder in wanted.folders:
        began = time.perf_counter()
        place = ["--trainer.default_root_dir", str(output / folder.name)]
        words = ["--config", recipe, "--data.root", str(base / folder), *place]
        session = open_session("fit", words, "clad fit")
        train(session)
        evaluation = evaluate_test(session)
        assert evaluation is not None
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        memory = evaluate(memory_predictions(session))
        lines.append((folder.name, "patch memory", memory, time.perf_counter() - began))
        lines.append((folder.name, "clad", evaluation, seconds))
    print(f"\n{'folder':16}{'method':14}" + "".join(f"{n:>13}" for n in _COLUMNS) + "       s")
    for name, method, evaluation, seconds in lines:
        numbers = "".join(f"{evaluation.mean[column]:13.3f}" for column in _COLUMNS)
        print(f"{name:16}{method:14}{numbers}{seconds:8.0f}")
    print(f"runs: {output}")


if __name__ == "__main__":
    main()
