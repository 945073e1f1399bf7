"""A logistic curve from scores to probabilities, fitted on labelled scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MOST_STEPS = 100
_SETTLED = 1e-10
"""Of the gradient per item, at which Newton's method stops."""
_SHORTEST_STEP = 1e-10


class Logistic(NamedTuple):
    """``1 / (1 + exp(-(slope * (score - centre) + offset)))``."""

    slope: float
    offset: float
    centre: float


def fit_platt(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> Logistic:
    """The logistic curve of largest likelihood under smoothed labels; finite for separated scores.

    Args:
        scores: (N,) float, finite.
        labels: (N,) 0 and 1, at least one of each.

    Source: Platt, Probabilistic outputs for support vector machines (1999); the iteration is that
        of Lin, Lin and Weng, A note on Platt's probabilistic outputs (Machine Learning 68, 2007),
        on standardised scores.
    """
    centre, spread = float(scores.mean()), float(scores.std())
    if not spread:
        return Logistic(0.0, _log_odds(labels), centre)
    targets = smoothed_labels(labels)
    columns = np.stack([(scores - centre) / spread, np.ones(len(scores))])
    weights = np.array([0.0, _log_odds(labels)])
    loss = _loss(columns, targets, weights)
    for _ in range(_MOST_STEPS):
        called = _sigmoid(weights @ columns)
        gradient = columns @ (called - targets)
        if np.abs(gradient).max() < _SETTLED * len(scores):
            break
        curvature = (columns * (called * (1 - called))) @ columns.T + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        rate = 1.0
        while rate > _SHORTEST_STEP:
            tried = weights - rate * step
            found = _loss(columns, targets, tried)
            if found <= loss - 1e-4 * rate * float(gradient @ step):
                break
            rate /= 2
        else:
            break
        weights, loss = tried, found
    return Logistic(float(weights[0]) / spread, float(weights[1]), centre)


def apply_platt(curve: Logistic, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) probabilities."""
    return _sigmoid(curve.slope * (scores - curve.centre) + curve.offset)


def smoothed_labels(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) ``(n1 + 1) / (n1 + 2)`` for the n1 anomalous items, ``1 / (n0 + 2)`` for the n0 normal.

    So no probability fitted to them is 0 or 1, which no finite number of images could support.

    Source: Platt (1999), section 2.2.
    """
    num_anomalous = int((labels == 1).sum())
    num_normal = len(labels) - num_anomalous
    return np.where(labels == 1, (num_anomalous + 1) / (num_anomalous + 2), 1 / (num_normal + 2))


def _log_odds(labels: NDArray[np.int64]) -> float:
    num_anomalous = int((labels == 1).sum())
    return float(np.log((num_anomalous + 1) / (len(labels) - num_anomalous + 1)))


def _loss(
    columns: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    values = weights @ columns
    return float((np.logaddexp(0, values) - targets * values).sum())


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0, -values))
