"""`clad` beside a plain patch memory on real solar cells: same split, same backbone, one run.

    python benchmarks/solar_vs_memory.py [--output DIR]

Three rows of image AUROC: the memory of `benchmarks/patch_memory.py`, the recipe `clad_solar`
trained on the same good images alone (with the weights of `clad_folder`), and the recipe as it
ships, which also learns from labelled defects. The test images are the same in all rows;
none of them is seen in training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from patch_memory import memory_predictions
from sklearn.metrics import roc_auc_score

from clad.cli.demo import expect_packages, find_recipe
from clad.cli.session import Session, open_session
from clad.cli.stages import evaluate_test, train
from clad.metrics.collector import CollectedPredictions

CLAIM = "CLAD finds defects of solar cells that a plain patch memory misses"
PEER = "patch memory"
NEEDS = ("offline",)

_GOOD_ONLY = (
    "--data.synthesis_probability=0.6",
    "--model.head.init_args.score_weights=[0.5,0.5,0.5,0.5,0.0,1.0]",
)
"""What `clad_folder` has in place of settings that are meant for labelled defects."""


def row(collected: CollectedPredictions) -> dict[str, float]:
    """Image AUROC per category and in the mean, by scikit-learn."""
    values = {}
    for name in collected.category_names:
        rows = collected.rows_of(name)
        values[name] = float(roc_auc_score(collected.labels[rows], collected.scores[rows]))
    return {**values, "mean": float(np.mean(list(values.values())))}


def run_recipe(output: Path, words: list[str]) -> Session:
    """The recipe, trained and tested by the command line's own functions."""
    recipe = find_recipe("clad_solar.yaml")
    place = ["--trainer.default_root_dir", str(output)]
    session = open_session("fit", ["--config", str(recipe), *place, *words], "clad fit")
    train(session)
    evaluate_test(session)
    return session


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="clad beside a plain patch memory, solar cells")
    parser.add_argument("--output", type=Path, help="where the two runs are kept")
    wanted = parser.parse_args()
    expect_packages()
    output = wanted.output or Path(tempfile.mkdtemp(prefix="solar_vs_memory_"))
    table: list[tuple[str, dict[str, float], float]] = []

    def add(label: str, collected: CollectedPredictions | None, began: float) -> None:
        assert collected is not None
        table.append((label, row(collected), time.perf_counter() - began))

    began = time.perf_counter()
    shipped = run_recipe(output / "shipped", [])
    defects = shipped.data.source.train_anomalies
    add(f"clad, and {defects} labelled defects", shipped.task.collected, began)

    # The same test images: the defects go to validation, where heads and thresholds ignore them.
    began = time.perf_counter()
    source = "--data.source.init_args."
    words = [f"{source}train_anomalies=0", f"{source}validation_anomalies={defects}", *_GOOD_ONLY]
    good_only = run_recipe(output / "good_only", words)
    assert good_only.data.splits.test == shipped.data.splits.test
    add("clad, good images only", good_only.task.collected, began)

    began = time.perf_counter()
    add("patch memory, good images only", memory_predictions(good_only), began)

    names = list(table[0][1])
    print(f"\n{'image AUROC':32}" + "".join(f"{name:>8}" for name in names) + "       s")
    for label, values, seconds in reversed(table):
        print(f"{label:32}" + "".join(f"{values[name]:8.3f}" for name in names) + f"{seconds:8.0f}")
    print(f"runs: {output}")


if __name__ == "__main__":
    main()
