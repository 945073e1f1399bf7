"""AUPIMO: how much of each anomalous image's defect is found at very few false alarms."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.metrics.functional.validate import checked_labels, checked_scores

Floats = NDArray[np.float64]

AUPIMO_BOUNDS = (1e-5, 1e-4)
"""False positive rates on normal images that the paper integrates between."""


def aupimo_scores(
    maps: ArrayLike, masks: ArrayLike, bounds: tuple[float, float] = AUPIMO_BOUNDS
) -> Floats:
    """(N,) share of each image's anomalous pixels that is found, averaged over the false alarms.

    False alarms are the share of the pixels of normal images (empty masks) at or above the
    threshold, all normal images together; normal pixels of anomalous images do not count. The
    average is over the logarithm of that share. Every score is a threshold, and the bounds are
    met exactly; anomalib takes 300,000 equal steps of score and the nearest points to the bounds.

    Args:
        maps: (N, H, W) float, finite; larger = more anomalous.
        masks: (N, H, W) bool or 0 and 1; 1 = anomalous.
        bounds: Smallest and largest share of false alarms, 0 < low < high <= 1.

    Returns:
        Fractions; NaN for normal images, and for all of them if the normal images have fewer
        pixels than 1 / ``bounds[0]``: the lower bound would be less than one pixel.

    Raises:
        ValueError: If shapes differ or are not (N, H, W), a map value is not finite, a mask value
            is neither 0 nor 1, or bounds are out of range.

    Source: Bertoldo et al., AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed
    and Low Tolerance, BMVC 2024, arXiv:2401.01984.
    """
    expect_bounds(bounds)
    scores = checked_scores("maps", maps)
    if scores.ndim != 3:
        raise ValueError(
            f"expected maps of shape (N, H, W), got {scores.shape}; stack one map per image"
        )
    anomalous = checked_labels("masks", masks, scores.shape)
    has_defect = anomalous.any(axis=(1, 2))
    normal = np.sort(scores[~has_defect].reshape(-1))
    found = np.full(len(scores), math.nan)
    if len(normal) * bounds[0] < 1:
        return found
    for row in np.flatnonzero(has_defect):
        own = scores[row][anomalous[row]]
        above = 1 - np.searchsorted(normal, own, side="right") / len(normal)
        from_here = 1 - np.searchsorted(normal, own, side="left") / len(normal)
        found[row] = share_of_range(above, from_here, bounds).mean()
    return found


def aupimo(maps: ArrayLike, masks: ArrayLike, bounds: tuple[float, float] = AUPIMO_BOUNDS) -> float:
    """Mean of ``aupimo_scores`` over the anomalous images; NaN if there is none."""
    found = aupimo_scores(maps, masks, bounds)
    defined = found[~np.isnan(found)]
    return float(defined.mean()) if len(defined) else math.nan


def share_of_range(start: Floats, end: Floats, bounds: tuple[float, float]) -> Floats:
    """(A,) share of the range of false alarms, by its logarithm, in which a pixel is found.

    Args:
        start: (A,) share of normal pixels above it.
        end: (A,) share of normal pixels at or above it; half of the way between counts.
        bounds: Of the range.
    """
    low, high = (math.log(bound) for bound in bounds)
    places = [(np.log(np.clip(each, *bounds)) - low) / (high - low) for each in (start, end)]
    share: Floats = 1 - (places[0] + places[1]) / 2
    return share


def expect_bounds(bounds: tuple[float, float]) -> None:
    """Refuse a range of false alarms that is none.

    Raises:
        ValueError: If it is.
    """
    if not 0 < bounds[0] < bounds[1] <= 1:
        raise ValueError(
            f"expected bounds 0 < low < high <= 1, got {bounds}; the paper has 1e-5, 1e-4"
        )
