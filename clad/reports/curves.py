"""Points of the curves and bars that figures draw; every point is exact, none is interpolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.metrics.functional.ranking import rank

Points = tuple[NDArray[np.float64], NDArray[np.float64]]

# A range that outliers stretch by more than this factor is cut at these percentiles.
_STRETCH = 3.0
_CORE = (0.5, 99.5)


def roc_points(scores: NDArray[np.float64], labels: NDArray) -> Points | None:
    """(false positive rate, true positive rate) corners of the ROC; None if a class is missing.

    Joined by straight lines they enclose exactly the AUROC: ties are sloped segments.
    """
    ranking = rank(scores, labels)
    if not ranking.is_defined:
        return None
    last = ranking.last_of_ties()
    found = np.concatenate([[0], last + 1])
    alarms = np.column_stack([ranking.normals_above[last], ranking.normals_from[last]]).ravel()
    hits = np.column_stack([found[:-1], found[1:]]).ravel()
    return _corners(
        np.concatenate([[0], alarms, [ranking.num_normal]]) / ranking.num_normal,
        np.concatenate([[0], hits, [ranking.num_anomalous]]) / ranking.num_anomalous,
    )


def precision_recall_points(scores: NDArray[np.float64], labels: NDArray) -> Points | None:
    """(recall, precision) corners of the step curve; None if a class is missing.

    Each recall gained is drawn at the precision of the threshold that gained it, so that the area
    under the steps is exactly the average precision.
    """
    ranking = rank(scores, labels)
    if not ranking.is_defined:
        return None
    last = ranking.last_of_ties()
    found = last + 1
    precision = found / (found + ranking.normals_from[last])
    recall = np.concatenate([[0], found]) / ranking.num_anomalous
    x = np.column_stack([recall[:-1], recall[1:]]).ravel()
    return _corners(x, np.repeat(precision, 2))


@dataclass(frozen=True)
class Histogram:
    """Counts of scores by class over shared bins.

    Args:
        edges: (bins + 1,) float64, rising.
        normal: (bins,) int64 number of normal images.
        anomalous: (bins,) int64 number of anomalous images.
        is_cut: Whether scores beyond the outer edges were put into the outer bins.
    """

    edges: NDArray[np.float64]
    normal: NDArray[np.int64]
    anomalous: NDArray[np.int64]
    is_cut: bool


def score_histogram(
    scores: NDArray[np.float64], labels: NDArray, threshold: float, num_bins: int = 36
) -> Histogram:
    """Counts by class; the range takes in the threshold (unless NaN) and bounds outliers."""
    low, high = float(scores.min()), float(scores.max())
    core_low, core_high = (float(v) for v in np.percentile(scores, _CORE))
    is_cut = (high - low) > _STRETCH * (core_high - core_low) > 0
    if is_cut:
        low, high = core_low, core_high
    if not np.isnan(threshold):
        low, high = min(low, threshold), max(high, threshold)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, num_bins + 1)
    inside = np.clip(scores, low, high)
    normal, anomalous = (np.histogram(inside[labels == k], edges)[0] for k in (0, 1))
    return Histogram(edges, normal.astype(np.int64), anomalous.astype(np.int64), is_cut)


def _corners(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    """The same line without the points inside its horizontal and vertical runs."""
    keep = np.ones(len(x), dtype=bool)
    for axis in (x, y):
        keep[1:-1] &= ~((axis[1:-1] == axis[:-2]) & (axis[1:-1] == axis[2:]))
    return x[keep], y[keep]
