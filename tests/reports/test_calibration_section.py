"""Standings in predictions.parquet, and what the report says of threshold and probabilities."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from clad.metrics.calibrated import with_probabilities
from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluate import evaluate
from clad.metrics.one_threshold import with_one_threshold
from clad.metrics.settings import MetricSettings
from clad.reports.calibration_section import calibration_section
from clad.reports.html import write_report
from clad.reports.run_directory import read_run
from clad.tasks.level_thresholds import fit_level_thresholds

NAMES = ("mono", "poly")


@pytest.fixture
def tested(collected, write_run):
    """A run directory whose probabilities come from other images, what they gave, and its test."""
    rng = np.random.default_rng(1)
    labels = np.tile(np.repeat([0, 1], [60, 30]), 2)
    validation = CollectedPredictions(
        paths=tuple(f"{n}.png" for n in range(180)),
        categories=("mono",) * 90 + ("poly",) * 90,
        defect_types=tuple("crack" if label else "good" for label in labels),
        labels=labels,
        scores=rng.normal(1.3, 0.2, size=180) + 0.6 * labels,
        has_mask=np.zeros(180, dtype=bool),
    )
    fitted = fit_level_thresholds(validation, 0.05, MetricSettings(), NAMES)
    found = evaluate(collected, fitted.values)
    found = with_one_threshold(found, collected, fitted.one_threshold)
    found = with_probabilities(found, collected, fitted.calibrations)
    folder = write_run(collected, fitted.values, calibrations=fitted.calibrations, evaluation=found)
    return folder, fitted, collected


def test_every_test_image_has_its_standing(tested) -> None:
    folder, fitted, test = tested
    table = read_run(folder).predictions
    for row in (0, 17, 55, 79):
        expected = fitted.standing(test.categories[row], test.scores[row])
        assert tuple(values[row] for values in table.standings.values()) == expected
    assert list(table.standings) == ["percentile", "false_alarms_per_1000", "probability"]


def test_the_section_shows_sources_and_how_good_the_probabilities_are(tested) -> None:
    folder, _, test = tested
    page = write_report(folder).read_text(encoding="utf-8")
    section = page[page.index('id="calibration"') : page.index('id="gallery"')]
    assert "the 95 % quantile of validation normals" in section
    assert "Platt" in section
    assert "right only where 33.3% of the images are anomalous" in section
    mean = read_run(folder).evaluation.mean
    assert f"{mean['image_brier']:.3f}" in section
    assert f"{mean['image_ece']:.3f}" in section
    assert f"{test.labels.mean():.1%} of these 80 test images are anomalous" in section
    assert f"mean accuracy {mean['image_accuracy_one_threshold']:.3f}; the best one on" in section
    assert "Reliability of probabilities" in section


def test_without_probabilities_there_is_no_curve_and_the_reason(collected, write_run) -> None:
    folder = write_run(collected)
    page = write_report(folder).read_text(encoding="utf-8")
    section = page[page.index('id="calibration"') : page.index('id="gallery"')]
    assert "none: no scores of normal validation images are kept" in section
    assert "<svg" not in section
    assert read_run(folder).predictions.standings == {}
    card = json.loads((folder / "run.json").read_text())
    card.pop("calibration_source"), card.pop("threshold_source")
    older = replace(read_run(folder), card=card)
    assert "Not recorded in this run." in calibration_section(older)
