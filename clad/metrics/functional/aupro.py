"""Area under the per-region overlap curve: every defect counts the same, however small."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from clad.metrics.functional.ranking import Ranking, rank
from clad.metrics.functional.validate import Labels, checked_labels, checked_scores

AUPRO_LIMIT = 0.3
"""Largest false positive rate that the literature on MVTec-AD integrates up to."""

# Eight neighbours inside an image, none in the images before and after it.
_NEIGHBOURS = np.zeros((3, 3, 3), dtype=bool)
_NEIGHBOURS[1] = True


def region_weights(masks: Labels) -> NDArray[np.float64]:
    """(A,) float64 weight of each anomalous pixel, in the order of ``masks[masks]``; they sum to 1.

    A pixel weighs 1 / (pixels of its region x number of regions). Regions are 8-connected.

    Args:
        masks: (N, H, W) bool, True where anomalous.
    """
    anomalous = masks[masks.any(axis=(1, 2))]
    regions, num_regions = ndimage.label(anomalous, structure=_NEIGHBOURS)
    region_of_pixel = regions[anomalous] - 1
    sizes = np.bincount(region_of_pixel, minlength=num_regions)
    return (1.0 / (sizes * max(num_regions, 1)))[region_of_pixel]


def aupro_of(ranking: Ranking, weights: NDArray[np.float64], limit: float = AUPRO_LIMIT) -> float:
    """AUPRO of pixels already ranked, with the weights of ``region_weights``; see ``aupro``."""
    if not ranking.is_defined:
        return math.nan
    start = ranking.normals_above / ranking.num_normal
    end = ranking.normals_from / ranking.num_normal
    area = area_up_to(limit, start, end)
    # Rounding of the weights' sum may overshoot 1 in the last digit.
    return min(1.0, float(area @ weights[ranking.order]) / limit)


def area_up_to(
    limit: float, start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(A,) area that each anomalous pixel of weight 1 adds to the curve up to ``limit``.

    Lowering the threshold past it lifts the curve by its weight: at once if no normal pixel ties,
    else linearly between the two false positive rates ``start`` and ``end``.
    """
    area = np.maximum(limit - (start + end) / 2, 0.0)
    is_cut = (start < limit) & (limit < end)
    cut_start, cut_end = start[is_cut], end[is_cut]
    area[is_cut] = (limit - cut_start) ** 2 / (2 * (cut_end - cut_start))
    area[start >= limit] = 0.0
    return area


def aupro(maps: ArrayLike, masks: ArrayLike, limit: float = AUPRO_LIMIT) -> float:
    """Mean overlap with the true regions in [0, 1], over false positive rates from 0 to ``limit``.

    The integral is exact: every score is a threshold, the curve is linear between thresholds and
    is cut at ``limit`` by interpolation.

    Args:
        maps: (N, H, W) float, finite; larger = more anomalous.
        masks: (N, H, W) bool or 0 and 1; 1 = anomalous. Regions are 8-connected.
        limit: Largest false positive rate over all normal pixels, in (0, 1].

    Returns:
        Area divided by ``limit``; NaN if there is no anomalous or no normal pixel.

    Raises:
        ValueError: If shapes differ or are not (N, H, W), a map value is not finite, a mask value
            is neither 0 nor 1, or ``limit`` lies outside (0, 1].

    Source: Bergmann et al., IJCV 129 (2021), section 5.1 (MVTec-AD), limit 0.3.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"expected limit in (0, 1], got {limit}; the literature uses 0.3")
    checked_maps = checked_scores("maps", maps)
    if checked_maps.ndim != 3:
        raise ValueError(
            f"expected maps of shape (N, H, W), got {checked_maps.shape}; stack one map per image"
        )
    checked_masks = checked_labels("masks", masks, checked_maps.shape)
    weights = region_weights(checked_masks)
    return aupro_of(rank(checked_maps, checked_masks), weights, limit)
