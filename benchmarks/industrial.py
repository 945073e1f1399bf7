"""Every industrial recipe of the offline tower beside a plain patch memory, in one table.

    python benchmarks/industrial.py --data DIR [--sets transistor solar_cells ...] [--output DIR]

DIR holds `mvtec_ad/transistor`, `mvtec_ad/hazelnut` and `magnetic_tile` in MVTec-AD's layout (also
from the environment variable CLAD_BENCHMARK_DATA); solar cells come from a package. Rows:

* patch memory (`benchmarks/patch_memory.py`) and CLAD (`clad_folder`), from all good images;
* `few_shot` with 1, 2 and 4 good images, mean over `--seeds` draws;
* `few_anomalies` with 5 labelled defects of each type (100 per cell type for solar cells), and CLAD
  from good images alone on the test images that are left: the two rows to compare.

Settings are those of the recipes, the same for every set. Solar cells have no masks. A run that
lies finished in `--output` is read back, not trained again: a long table can be made in parts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from patch_memory import memory_predictions

from clad.cli.config_files import find_recipe
from clad.cli.demo import expect_packages
from clad.cli.run_folders import last_checkpoint
from clad.cli.session import Session, open_session
from clad.cli.stages import evaluate_test, train
from clad.metrics.evaluate import Evaluation, evaluate
from clad.protocols.robustness import predict
from clad.reports.files import read_json
from clad.reports.run_directory import METRICS

CLAIM = "CLAD from good images finds defects that a plain patch memory misses"
PEER = "patch memory"
NEEDS = ("offline", "data")

_COLUMNS = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_aupro")
_SETS = {
    "transistor": "mvtec_ad/transistor",
    "hazelnut": "mvtec_ad/hazelnut",
    "magnetic_tile": "magnetic_tile",
    "solar_cells": None,
}
_ANOMALIES = {"transistor": 5, "magnetic_tile": 5, "solar_cells": 100}
"""Labelled defects of each type; hazelnut has two of each, too few to leave a test."""

Row = tuple[str, dict[str, float], float]


class Bench:
    """Runs recipes on one data set.

    Args:
        name: One of the sets.
        base: Folder of the data.
        output: Where runs are kept.
    """

    def __init__(self, name: str, base: Path, output: Path) -> None:
        folder = _SETS[name]
        self.name = name
        self.output = output / name
        self.words = (
            ["--data.source=clad.data.solar_cells.SolarCells"]
            if folder is None
            else [f"--data.root={base / folder}"]
        )

    def run(self, label: str, recipe: str, words: Sequence[str] = ()) -> Session:
        """A recipe, trained (unless that was done) and tested by the command line's functions."""
        place = self._place(label)
        config = str(find_recipe(f"{recipe}.yaml"))
        words = [f"--config={config}", f"--trainer.default_root_dir={place}", *self.words, *words]
        if last_checkpoint(place).is_file():
            session = open_session("test", [*words, f"--ckpt_path={place}"], "clad test")
        else:
            session = open_session("fit", words, "clad fit")
            train(session)
        evaluate_test(session)
        return session

    def _place(self, label: str) -> Path:
        return self.output / label.replace(" ", "_")

    def rows(self, seeds: int, all_shots: Sequence[int]) -> list[Row]:
        """All rows of the set."""
        began = time.perf_counter()
        good_only = self.run("clad", "clad_folder")
        rows = [("CLAD, good images", _means(good_only.task.evaluation), _since(began))]
        began = time.perf_counter()
        memory = evaluate(memory_predictions(good_only))
        rows.insert(0, ("patch memory", _means(memory), _since(began)))
        for shots in all_shots:
            began = time.perf_counter()
            drawn = [self._few_shot(shots, seed) for seed in range(seeds)]
            mean = {name: float(np.mean([d[name] for d in drawn])) for name in _COLUMNS}
            rows.append((f"few_shot, k = {shots}", mean, _since(began) / seeds))
        if self.name in _ANOMALIES:
            rows += self._few_anomalies(good_only)
        return rows

    def _few_shot(self, shots: int, seed: int) -> dict[str, float]:
        words = [f"--data.shots={shots}", f"--data.seed={seed}"]
        # The draw may take validation and test images of sources that split by seed: only the
        # shots are drawn anew, splits that are stored stay.
        label = f"shots {shots} {seed}"
        metrics = self._place(label) / METRICS
        if metrics.is_file():
            mean = read_json(metrics)["test"]["mean"]
            return {
                name: float("nan") if mean.get(name) is None else mean[name] for name in _COLUMNS
            }
        return _means(self.run(label, "few_shot", words).task.evaluation)

    def _few_anomalies(self, good_only: Session) -> list[Row]:
        count = _ANOMALIES[self.name]
        began = time.perf_counter()
        words = [f"--data.anomalies_per_type={count}"]
        session = self.run("few anomalies", "few_anomalies", words)
        few, seconds = session.task.collected, _since(began)
        assert few is not None
        return [
            ("CLAD, good images *", _means(_of_images(good_only, few.paths)), float("nan")),
            (f"{count} defects per type *", _means(evaluate(few)), seconds),
        ]


def _of_images(session: Session, paths: Sequence[str]) -> Evaluation:
    """Metrics of a session's model on some of its test images."""
    wanted = set(paths)
    samples = [each for each in session.data.splits.test if str(each.image_path) in wanted]
    return session.task.evaluate(predict(session.task, session.data.plain_dataloader(samples)))


def _means(evaluation: Evaluation | None) -> dict[str, float]:
    assert evaluation is not None
    return {name: evaluation.mean.get(name, float("nan")) for name in _COLUMNS}


def _since(began: float) -> float:
    return time.perf_counter() - began


def _print(title: str, rows: Sequence[Row]) -> None:
    print(f"\n{title:24}" + "".join(f"{name:>13}" for name in _COLUMNS) + "       s")
    for label, values, seconds in rows:
        numbers = "".join(f"{values[name]:13.3f}" for name in _COLUMNS)
        print(f"{label:24}{numbers}{seconds:8.0f}", flush=True)


def main() -> None:
    """Print one table per set and the comparison with the memory."""
    parser = argparse.ArgumentParser(description="offline recipes beside a patch memory")
    parser.add_argument("--data", type=Path, default=os.environ.get("CLAD_BENCHMARK_DATA"))
    parser.add_argument("--sets", nargs="+", choices=list(_SETS), default=list(_SETS))
    parser.add_argument("--seeds", type=int, default=3, help="draws of the few shots")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--output", type=Path, help="where the runs are kept")
    wanted = parser.parse_args()
    if wanted.data is None:
        parser.error("expected --data DIR or CLAD_BENCHMARK_DATA, got neither")
    expect_packages()
    output = wanted.output or Path(tempfile.mkdtemp(prefix="industrial_"))
    tables = {}
    for name in wanted.sets:
        tables[name] = Bench(name, wanted.data, output).rows(wanted.seeds, wanted.shots)
        _print(name, tables[name])
    gains = {
        name: rows[1][1]["image_auroc"] - rows[0][1]["image_auroc"] for name, rows in tables.items()
    }
    print("\nimage AUROC, CLAD from good images less patch memory:")
    for name, gain in gains.items():
        print(f"  {name:22}{gain:+.3f}")
    print(f"  {'mean':22}{np.mean(list(gains.values())):+.3f}")
    print("* on the test images that are left when the labelled defects are taken out")
    print(f"runs: {output}")


if __name__ == "__main__":
    main()
