from __future__ import annotations

import numpy as np
import pytest

from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.average_precision import average_precision
from clad.reports.curves import precision_recall_points, roc_points, score_histogram


def draw(seed, ties):
    rng = np.random.default_rng(seed)
    labels = (rng.random(80) < 0.3).astype(int)
    labels[:2] = (0, 1)
    scores = rng.normal(size=80) + labels
    return (np.round(scores * 2) / 2 if ties else scores), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_areas_under_the_drawn_lines_are_the_metrics(seed, ties):
    scores, labels = draw(seed, ties)
    x, y = roc_points(scores, labels)
    assert np.trapezoid(y, x) == pytest.approx(auroc(scores, labels))
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    recall, precision = precision_recall_points(scores, labels)
    assert np.trapezoid(precision, recall) == pytest.approx(average_precision(scores, labels))


def test_runs_are_drawn_by_their_ends_only():
    x, y = roc_points(np.array([3.0, 2, 1, 0, -1]), np.array([1, 1, 1, 0, 0]))
    assert (x.tolist(), y.tolist()) == ([0, 0, 1], [0, 1, 1])


def test_one_class_has_no_curve():
    assert roc_points(np.zeros(3), np.zeros(3, dtype=int)) is None
    assert precision_recall_points(np.zeros(3), np.ones(3, dtype=int)) is None


def test_histogram_counts_every_image_once_and_spans_the_threshold():
    scores, labels = draw(0, ties=False)
    histogram = score_histogram(scores, labels, threshold=9.0, num_bins=12)
    assert histogram.edges[-1] == 9.0
    assert histogram.normal.sum() == (labels == 0).sum()
    assert histogram.anomalous.sum() == labels.sum()
    assert len(histogram.normal) == 12
    assert not histogram.is_cut


def test_an_outlier_goes_into_the_outer_bin():
    scores = np.concatenate([np.linspace(0, 1, 999), [1e6]])
    histogram = score_histogram(scores, np.zeros(1000, dtype=int), np.nan)
    assert histogram.is_cut
    assert histogram.edges[-1] < 2
    assert histogram.normal.sum() == 1000


def test_constant_scores_have_a_range():
    histogram = score_histogram(np.zeros(5), np.array([0, 0, 0, 1, 1]), 0.0)
    assert histogram.edges[0] < 0 < histogram.edges[-1]
    assert histogram.normal.max() == 3
