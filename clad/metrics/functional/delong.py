"""DeLong's test: whether two AUROCs of the same items differ by more than chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.metrics.functional.validate import checked_labels, checked_scores

Floats = NDArray[np.float64]


class DeLong(NamedTuple):
    """The AUROC of the first scores less that of the second.

    Args:
        difference: In [-1, 1]; NaN if one kind of item is missing.
        standard_error: Of it, at least 0; NaN where either kind has fewer than two items.
        p_value: Two-sided, in [0, 1], from the normal distribution; 1 where the two rank every
            pair alike, NaN where the difference has no spread to be measured by.
    """

    difference: float
    standard_error: float
    p_value: float


def delong_test(first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> DeLong:
    """Difference of two correlated AUROCs with its standard error and p-value.

    Items must be independent of each other: frames of one video are not. The p-value rests on
    many items of both kinds; of few, the paired bootstrap (``clad.metrics.paired``) and this test
    may disagree, and neither is exact. Time grows as a sort, not with the number of pairs.

    Args:
        first: (N,) float, finite; larger = more anomalous.
        second: (N,) scores of the same items by another detector.
        labels: (N,) bool or 0 and 1; 1 = anomalous.

    Raises:
        ValueError: If shapes differ, a score is not finite, or a label is neither 0 nor 1.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), 837-845; by midranks as in
    Sun and Xu, IEEE Signal Processing Letters 21 (2014), 1389-1393, algorithm 2.
    """
    one = checked_scores("scores", first)
    other = checked_scores("scores", second)
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(
            f"expected two lists of scores of the same items, got shapes {one.shape} and "
            f"{other.shape}"
        )
    is_anomalous = checked_labels("labels", labels, one.shape)
    num_anomalous = int(is_anomalous.sum())
    num_normal = len(one) - num_anomalous
    if not num_anomalous or not num_normal:
        return DeLong(math.nan, math.nan, math.nan)
    found, others = (_placements(scores, is_anomalous) for scores in (one, other))
    # Placements are whole or half numbers: differences of equal ones are exactly zero.
    anomalous, normal = found[0] - others[0], found[1] - others[1]
    difference = float(anomalous.sum()) / (num_anomalous * num_normal)
    if min(num_anomalous, num_normal) < 2:
        return DeLong(difference, math.nan, math.nan)
    variance = (
        _variance(anomalous) / num_normal**2 / num_anomalous
        + _variance(normal) / num_anomalous**2 / num_normal
    )
    error = math.sqrt(variance)
    return DeLong(difference, error, two_sided(difference, error))


def two_sided(difference: float, standard_error: float) -> float:
    """p-value in [0, 1] of a normal difference; NaN where only the error is 0, or either is NaN."""
    if standard_error > 0:
        return math.erfc(abs(difference) / standard_error / math.sqrt(2))
    return 1.0 if difference == standard_error == 0 else math.nan


def _placements(scores: NDArray, is_anomalous: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(A,) normal items below each anomalous one, (M,) anomalous below each normal; ties half."""
    among_all = _midranks(scores)
    anomalous = among_all[is_anomalous] - _midranks(scores[is_anomalous])
    return anomalous, among_all[~is_anomalous] - _midranks(scores[~is_anomalous])


def _midranks(scores: NDArray) -> Floats:
    """(N,) ranks from 1 on; items of equal score share the mean of their ranks."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    midranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return midranks


def _variance(values: Floats) -> float:
    """Sample variance, exactly 0 where all are alike."""
    return 0.0 if np.ptp(values) == 0 else float(values.var(ddof=1))
