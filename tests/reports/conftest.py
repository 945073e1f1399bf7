"""A synthetic run directory, small and the same every time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluate import evaluate
from clad.reports.files import write_text
from clad.reports.run_card import run_card
from clad.reports.run_directory import write_test_results

SIZE = 64


def make_collected(categories=("mono", "poly"), per_category=40, seed=0, size=SIZE):
    """Images with a bright disc where the defect is; scores are the maxima of noisy maps."""
    rng = np.random.default_rng(seed)
    count = per_category * len(categories)
    labels = np.tile((np.arange(per_category) % 3 == 0).astype(np.int64), len(categories))
    rows, columns = np.mgrid[:size, :size]
    masks = np.zeros((count, size, size), dtype=bool)
    maps = rng.normal(1.0, 0.12, size=(count, size // 8, size // 8)).astype(np.float32)
    maps = np.kron(maps, np.ones((1, 8, 8), dtype=np.float32))
    for i in np.flatnonzero(labels):
        top, left = rng.integers(12, size - 12, size=2)
        distance = np.hypot(rows - top, columns - left)
        masks[i] = distance < rng.integers(4, 10)
        maps[i] += rng.uniform(0.0, 1.6) * np.exp(-((distance / 9) ** 2))
    return CollectedPredictions(
        paths=tuple(f"images/{i:03d}.png" for i in range(count)),
        categories=tuple(np.repeat(categories, per_category).tolist()),
        defect_types=tuple("crack" if label else "good" for label in labels),
        labels=labels,
        scores=maps.max(axis=(1, 2)).astype(np.float64),
        has_mask=np.ones(count, dtype=bool),
        parts={"text": rng.normal(size=count), "memory": rng.normal(size=count)},
        maps=maps,
        masks=masks,
    )


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
    """Function: collected predictions -> a run directory with all files."""

    def write(collected, thresholds="median", name="run", calibrations=None, evaluation=None):
        if thresholds == "median":
            thresholds = {
                c: float(np.median(collected.scores[collected.rows_of(c)])) + 0.1
                for c in collected.category_names
            }
        write_test_results(
            tmp_path / name,
            collected,
            evaluation or evaluate(collected, thresholds),
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
