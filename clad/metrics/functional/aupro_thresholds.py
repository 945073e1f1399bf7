"""AUPRO as the published code of APRIL-GAN and AnomalyCLIP computes it; close to the exact one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.metrics.functional.aupro import AUPRO_LIMIT, region_weights
from clad.metrics.functional.validate import checked_labels, checked_scores

Floats = NDArray[np.float64]

NUM_THRESHOLDS = 200
"""Steps between the smallest and the largest score."""


def aupro_thresholds(
    maps: ArrayLike,
    masks: ArrayLike,
    limit: float = AUPRO_LIMIT,
    num_thresholds: int = NUM_THRESHOLDS,
) -> float:
    """Mean overlap with the true regions in [0, 1], on evenly spaced thresholds.

    For numbers beside published tables only. It differs from ``aupro`` in three ways: thresholds
    are ``num_thresholds`` equal steps from the smallest to the largest score, wherever the scores
    lie; points with a false positive rate of ``limit`` or more are dropped, not cut; the rates that
    are left are stretched to [0, 1], so that what lies between the last point and the limit, and
    before the first point, counts as if it were not there.

    Args:
        maps: (N, H, W) float, finite; larger = more anomalous.
        masks: (N, H, W) bool or 0 and 1; 1 = anomalous. Regions are 8-connected.
        limit: Rates from here on are dropped, in (0, 1].
        num_thresholds: Number of steps, >= 2.

    Returns:
        The area; NaN if there is no anomalous or no normal pixel, or fewer than two different rates
        below ``limit``.

    Raises:
        ValueError: If shapes differ or are not (N, H, W), a map value is not finite, a mask value
            is neither 0 nor 1, or an option is out of range.

    Source: ``cal_pro_score`` in test.py of APRIL-GAN (arXiv:2305.17382) and metrics.py of
    AnomalyCLIP (arXiv:2310.18961), after CFLOW-AD (Gudovskiy et al., WACV 2022).
    """
    if not 0 < limit <= 1:
        raise ValueError(f"expected limit in (0, 1], got {limit}; the literature uses 0.3")
    if num_thresholds < 2:
        raise ValueError(f"expected num_thresholds of at least 2, got {num_thresholds}")
    scores = checked_scores("maps", maps)
    if scores.ndim != 3:
        raise ValueError(
            f"expected maps of shape (N, H, W), got {scores.shape}; stack one map per image"
        )
    anomalous = checked_labels("masks", masks, scores.shape)
    if not anomalous.any() or anomalous.all():
        return math.nan
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        return math.nan
    thresholds = even_thresholds(low, high, num_thresholds)
    # Regions are labelled image by image in the order of images that have any.
    weights = region_weights(anomalous)
    overlap = _share_above(scores[anomalous], thresholds, weights)
    rate = _share_above(scores[~anomalous], thresholds)
    return stretched_area(rate, overlap, limit)


def even_thresholds(low: float, high: float, number: int = NUM_THRESHOLDS) -> Floats:
    """(T,) rising thresholds: ``number`` equal steps from the smallest to the largest score."""
    return np.arange(low, high, (high - low) / number)


def stretched_area(rate: Floats, overlap: Floats, limit: float = AUPRO_LIMIT) -> float:
    """Area under the points with a rate below ``limit``, their rates stretched to [0, 1].

    Args:
        rate: (T,) false positive rates, falling.
        overlap: (T,) mean overlap with the regions.
        limit: Rates from here on are dropped.

    Returns:
        The area; NaN if fewer than two different rates are left.
    """
    kept = rate < limit
    rate, overlap = rate[kept], overlap[kept]
    if len(rate) < 2 or rate.min() == rate.max():
        return math.nan
    stretched = (rate - rate.min()) / (rate.max() - rate.min())
    # Thresholds rise, so rates fall: from the right to the left.
    return float(np.trapezoid(overlap[::-1], stretched[::-1]))


def _share_above(
    scores: NDArray[np.floating],
    thresholds: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(T,) share of the scores, by number or by weight, that lie above each threshold."""
    order = np.argsort(scores)
    below = np.searchsorted(scores[order].astype(np.float64), thresholds, side="right")
    if weights is None:
        return 1 - below / len(scores)
    passed = np.concatenate([[0.0], np.cumsum(weights[order])])
    return passed[-1] - passed[below]
