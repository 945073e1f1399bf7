"""Any rising curve from scores to probabilities, fitted on labelled scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clad.metrics.functional.platt import smoothed_labels

Knots = tuple[tuple[float, float], ...]


def fit_isotonic(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> Knots:
    """(score, probability) of the rising curve with the least squared error to smoothed labels.

    Smoothing the labels as Platt does moves the curve of plain labels linearly, and keeps it away
    from 0 and 1.

    Args:
        scores: (N,) float, finite.
        labels: (N,) 0 and 1, at least one of each.

    Returns:
        Knots in rising order, at least one; straight lines join them.

    Source: Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability
        estimates (KDD 2002); the fit is scikit-learn's.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, smoothed_labels(labels))
    x, y = fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist()
    return tuple(zip(x, y, strict=True))


def apply_isotonic(knots: Knots, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) probabilities; beyond the outermost knots, theirs."""
    x, y = zip(*knots, strict=True)
    return np.interp(scores, x, y)
