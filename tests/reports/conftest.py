"""A synthetic run directory, small and the same every time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from stored_runs import make_collected

from clad.metrics.evaluate import evaluate
from clad.reports.files import write_text
from clad.reports.run_card import run_card
from clad.reports.run_directory import write_test_results


def load_image(path, size):
    """A grey cell with busbars, whose shade depends on the name."""
    shade = 90 + int(path[-7:-4]) % 60
    image = np.full((*size, 3), shade, dtype=np.uint8)
    image[:, :: max(1, size[1] // 4)] = 30
    image[:: max(1, size[0] // 12)] //= 2
    return image


CARD = run_card(
    recipe="clad_test",
    command="clad test --config configs/recipes/clad_test.yaml",
    seed=0,
    started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    seconds={"fit": 41.2, "test": 9.8},
    checkpoint="runs/clad_test/last.ckpt",
)
DATA = {
    "source": "tiny",
    "root": "tiny_root",
    "sha256": "0123456789abcdef" * 4,
    "counts": {"test": {"mono": {"normal": 26, "anomalous": 14}}},
    "notes": ["split by hand"],
}


@pytest.fixture
def collected():
    return make_collected()


@pytest.fixture
def write_run(tmp_path):
    """Function: stored predictions -> a run directory with all files."""

    def write(collected, thresholds="median", name="run", calibrations=None, evaluation=None):
        if thresholds == "median":
            thresholds = {
                c: float(np.median(collected.scores[collected.rows_of(c)])) + 0.1
                for c in collected.category_names
            }
        found = collected.collected()
        write_test_results(
            tmp_path / name,
            found,
            evaluation or evaluate(found, thresholds),
            thresholds=thresholds,
            threshold_source="the 95 % quantile of validation normals",
            card=CARD,
            data=DATA,
            load_image=load_image,
            calibrations=calibrations,
        )
        write_text(tmp_path / name / "config.yaml", "model:\n  head: <memory & text>\n")
        return tmp_path / name

    return write


@pytest.fixture
def image_only(collected):
    """Predictions of a head without maps."""
    unknown = np.zeros(len(collected), dtype=bool)
    return replace(collected, maps=None, masks=None, has_mask=unknown)
