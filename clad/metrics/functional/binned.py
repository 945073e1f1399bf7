"""Ranking metrics of scores of which only counts by bin are known.

Inside a bin of several numbers, normal and anomalous items are taken to lie evenly mixed; in a bin
of one number they tie, and the metrics are those of exact scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.metrics.functional.aupimo import AUPIMO_BOUNDS, share_of_range
from clad.metrics.functional.aupro import AUPRO_LIMIT, area_up_to
from clad.metrics.functional.eer import rate_on_segment

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BinnedRanking:
    """Bins by falling score.

    Args:
        normal: (K,) number of normal items in each.
        anomalous: (K,) number of anomalous items.
        weight: (K,) sum of the weights of the anomalous items.
        is_single: (K,) bool, whether the bin holds a single score: its items tie.
    """

    normal: Floats
    anomalous: Floats
    weight: Floats
    is_single: NDArray[np.bool_]

    @property
    def num_normal(self) -> float:
        """Number of normal items."""
        return float(self.normal.sum())

    @property
    def num_anomalous(self) -> float:
        """Number of anomalous items."""
        return float(self.anomalous.sum())

    @property
    def is_defined(self) -> bool:
        """Whether both kinds of item are there."""
        return self.num_normal > 0 and self.num_anomalous > 0


def binned_auroc(ranking: BinnedRanking) -> float:
    """AUROC in [0, 1]; NaN if one kind of item is missing."""
    if not ranking.is_defined:
        return math.nan
    at_or_above = np.cumsum(ranking.normal)
    above = at_or_above - ranking.normal
    lost = float(ranking.anomalous @ (above + at_or_above))
    return 1.0 - lost / (2 * ranking.num_anomalous * ranking.num_normal)


def auroc_uncertainty(ranking: BinnedRanking) -> float:
    """How far AUROC could be off, if in each bin all items of one kind lay above the others."""
    if not ranking.is_defined:
        return math.nan
    open_bins = ~ranking.is_single
    pairs = float(ranking.anomalous[open_bins] @ ranking.normal[open_bins])
    return pairs / (2 * ranking.num_anomalous * ranking.num_normal)


def binned_average_precision(ranking: BinnedRanking) -> float:
    """AP in [0, 1]; NaN if one kind of item is missing.

    With F anomalous and B normal items above a bin of p and n, its i-th anomalous item has, evenly
    mixed, ``B + i n / (p + 1)`` normal items above it. The sum of precisions over i is taken as the
    integral of ``(F + t) / (F + t + B + t n / (p + 1))`` from 1/2 to p + 1/2.
    """
    if not ranking.is_defined:
        return math.nan
    held = ranking.anomalous > 0
    normal, found = np.cumsum(ranking.normal)[held], np.cumsum(ranking.anomalous)[held]
    p, n, is_single = ranking.anomalous[held], ranking.normal[held], ranking.is_single[held]
    tied = p * found / (found + normal)
    before, above = found - p, normal - n
    rate = 1 + n / (p + 1)
    base = before + above
    mixed = p / rate + (before - base / rate) / rate * np.log1p(rate * p / (base + rate / 2))
    return min(1.0, float(np.where(is_single, tied, mixed).sum()) / ranking.num_anomalous)


def binned_f1_max(ranking: BinnedRanking) -> float:
    """Largest F1 in [0, 1] of a threshold between bins; NaN if one kind of item is missing."""
    if not ranking.is_defined:
        return math.nan
    found, alarms = np.cumsum(ranking.anomalous), np.cumsum(ranking.normal)
    return float((2 * found / (found + alarms + ranking.num_anomalous)).max())


def binned_aupro(ranking: BinnedRanking, limit: float = AUPRO_LIMIT) -> float:
    """Area under the per-region overlap curve in [0, 1], by the weights of ``region_weights``."""
    if not ranking.is_defined:
        return math.nan
    end = np.cumsum(ranking.normal) / ranking.num_normal
    start = end - ranking.normal / ranking.num_normal
    total = float(ranking.weight.sum())
    return min(1.0, float(area_up_to(limit, start, end) @ ranking.weight) / (limit * total))


def binned_pro_curve(ranking: BinnedRanking, limit: float = AUPRO_LIMIT) -> tuple[Floats, Floats]:
    """The curve whose area is ``binned_aupro``, from the left; empty if it is undefined.

    Returns:
        (M,) false positive rates from 0 to ``limit``, never falling, and the mean overlap with the
        regions there in [0, 1]. Straight lines join the points.
    """
    if not ranking.is_defined:
        return np.empty(0), np.empty(0)
    rate = np.append(0.0, np.cumsum(ranking.normal) / ranking.num_normal)
    overlap = np.append(0.0, np.cumsum(ranking.weight) / ranking.weight.sum())
    inside = rate < limit
    at_limit = np.interp(limit, rate, overlap)
    return np.append(rate[inside], limit), np.append(overlap[inside], at_limit)


def binned_aupimo(ranking: BinnedRanking, bounds: tuple[float, float] = AUPIMO_BOUNDS) -> float:
    """Mean AUPIMO of the anomalous images in [0, 1]; see ``aupimo``.

    Args:
        ranking: Of the pixels of normal images and the anomalous pixels, the latter weighted by
            1 / (anomalous pixels of their image).
        bounds: Smallest and largest share of false alarms.
    """
    if not ranking.is_defined or ranking.num_normal * bounds[0] < 1 - 1e-6:
        return math.nan
    end = np.cumsum(ranking.normal) / ranking.num_normal
    start = end - ranking.normal / ranking.num_normal
    shares = share_of_range(start, end, bounds)
    return float(shares @ ranking.weight) / float(ranking.weight.sum())


def binned_eer(ranking: BinnedRanking) -> float:
    """Equal error rate in [0, 1]; NaN if one kind of item is missing."""
    if not ranking.is_defined:
        return math.nan
    recall = np.cumsum(ranking.anomalous) / ranking.num_anomalous
    alarms = np.cumsum(ranking.normal) / ranking.num_normal
    place = min(int(np.argmax(recall + alarms >= 1 - 1e-12)), len(recall) - 1)
    here = slice(place, place + 1)
    before = recall[here] - ranking.anomalous[here] / ranking.num_anomalous
    above = alarms[here] - ranking.normal[here] / ranking.num_normal
    return float(rate_on_segment(above, before, alarms[here], recall[here])[0])


def binned_false_alarms_at_recall(ranking: BinnedRanking, recall: float = 0.95) -> float:
    """Share of false alarms where ``recall`` of the anomalous items are found.

    In a bin of several scores a threshold inside it is allowed for: above the i-th of its p
    anomalous items lie i / (p + 1) of its normal ones.
    """
    if not ranking.is_defined:
        return math.nan
    needed = math.ceil(recall * ranking.num_anomalous - 1e-9)
    found, alarms = np.cumsum(ranking.anomalous), np.cumsum(ranking.normal)
    place = int(np.argmax(found >= needed - 1e-6))
    share = 1.0
    if not ranking.is_single[place]:
        missing = needed - (found[place] - ranking.anomalous[place])
        share = min(1.0, missing / (ranking.anomalous[place] + 1))
    return float(alarms[place] - (1 - share) * ranking.normal[place]) / ranking.num_normal
