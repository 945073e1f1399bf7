"""Pixel metrics of one category in bounded memory, from batches that come once."""

from __future__ import annotations

import math
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray

from clad.metrics.evaluation import Reasons, Values
from clad.metrics.functional.aupimo import AUPIMO_BOUNDS
from clad.metrics.functional.aupro import AUPRO_LIMIT
from clad.metrics.functional.aupro_thresholds import even_thresholds, stretched_area
from clad.metrics.functional.binned import (
    auroc_uncertainty,
    binned_aupimo,
    binned_aupro,
    binned_auroc,
    binned_average_precision,
    binned_eer,
    binned_f1_max,
    binned_false_alarms_at_recall,
    binned_pro_curve,
)
from clad.metrics.histogram import ANOMALOUS, NORMAL, NUM_BINS, WEIGHT
from clad.metrics.score_counts import ScoreCounts

PIXEL_METRICS = (
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1_max",
    "pixel_aupro",
    "pixel_eer",
    "pixel_false_alarms_at_95_recall",
)
PUBLISHED_PRO, AUPIMO = "pixel_aupro_200", "pixel_aupimo"
"""Metrics that a recipe may ask for besides."""

_UNCERTAIN = 1e-3
"""From here on metrics warn; with 8,192 bins it is 1e-4 for scores of overlapping kinds."""


class PixelState:
    """What is kept of the maps and masks of a category.

    States of parts of a data set add up: ``merge``.

    Args:
        num_bins: Most bins of the histogram of scores, at least 256.
        published_pro: Whether ``pixel_aupro_200`` is taken: AUPRO as published code computes it.
        aupimo: Whether ``pixel_aupimo`` is taken: it needs a second histogram, without the normal
            pixels of anomalous images.
    """

    def __init__(
        self, num_bins: int = NUM_BINS, published_pro: bool = False, aupimo: bool = False
    ) -> None:
        self.scores = ScoreCounts(num_bins)
        self.num_regions = 0
        self._takes_published_pro = published_pro
        self._beside_normal_images = ScoreCounts(num_bins) if aupimo else None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Of what ``metrics`` takes."""
        published = (PUBLISHED_PRO,) if self._takes_published_pro else ()
        return PIXEL_METRICS + published + ((AUPIMO,) if self._beside_normal_images else ())

    @property
    def num_bytes(self) -> int:
        """Size of what it keeps."""
        other = self._beside_normal_images
        return self.scores.num_bytes + (other.num_bytes if other else 0)

    @property
    def auroc_uncertainty(self) -> float:
        """How far pixel AUROC could be off if the order within bins were the worst or the best."""
        return auroc_uncertainty(self.scores.ranking())

    def update(self, maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> None:
        """Take in images whose masks are known.

        Args:
            maps: (B, H, W) float32, finite; larger = more anomalous.
            masks: (B, H, W) bool.

        Raises:
            ValueError: If shapes differ, or a map value is not finite.
        """
        if maps.ndim != 3 or maps.shape != masks.shape:
            raise ValueError(
                f"expected maps and masks of one shape (B, H, W), got {maps.shape} and "
                f"{masks.shape}; resize the masks to the maps"
            )
        rows = [row for row, mask in enumerate(masks) if mask.any()]
        found = [_defect_scores(maps[row], masks[row]) for row in rows]
        scores = np.concatenate([maps[:0].reshape(-1), *(each for each, _ in found)])
        regions = [of_regions for _, of_regions in found]
        self.num_regions += sum(round(each.sum()) for each in regions)
        self.scores.count(maps.reshape(-1), scores, np.concatenate([np.empty(0), *regions]))
        if self._beside_normal_images is not None:
            of_images = [np.full(len(each), 1 / len(each)) for each in regions]
            normal = np.delete(maps, rows, axis=0).reshape(-1)
            self._beside_normal_images.count(
                np.concatenate([normal, scores]),
                scores,
                np.concatenate([np.empty(0), *of_images]),
            )

    def merge(self, other: PixelState) -> None:
        """Take in what another one has seen.

        Raises:
            ValueError: If the two take different metrics.
        """
        if self.metric_names != other.metric_names:
            raise ValueError(
                f"expected states of the same metrics, got {self.metric_names} and "
                f"{other.metric_names}; make both with the same options"
            )
        self.scores.merge(other.scores)
        self.num_regions += other.num_regions
        if self._beside_normal_images and other._beside_normal_images:
            self._beside_normal_images.merge(other._beside_normal_images)

    def metrics(self) -> tuple[Values, Reasons]:
        """Each of ``metric_names``, and why those that are NaN have no value."""
        ranking = self.scores.ranking()
        values = dict.fromkeys(self.metric_names, math.nan)
        if not ranking.is_defined:
            lacking = "normal" if self.scores.totals[ANOMALOUS] else "anomalous"
            return values, dict.fromkeys(values, f"no {lacking} pixel")
        uncertainty = auroc_uncertainty(ranking)
        # Of few pixels, one is more than that.
        if uncertainty > max(_UNCERTAIN, 1 / min(ranking.num_normal, ranking.num_anomalous)):
            warnings.warn(
                f"pixel AUROC could be off by {uncertainty:.1g}, and the other "
                "pixel metrics likewise; raise model.metrics.num_bins",
                stacklevel=2,
            )
        taken = (
            binned_auroc,
            binned_average_precision,
            binned_f1_max,
            binned_aupro,
            binned_eer,
            binned_false_alarms_at_recall,
        )
        values |= {name: take(ranking) for name, take in zip(PIXEL_METRICS, taken, strict=True)}
        reasons: Reasons = {}
        if self._takes_published_pro:
            values[PUBLISHED_PRO] = self._published_pro()
            reasons[PUBLISHED_PRO] = "fewer than two of 200 thresholds below the limit"
        if self._beside_normal_images is not None:
            values[AUPIMO] = binned_aupimo(self._beside_normal_images.ranking())
            reasons[AUPIMO] = f"fewer than {1 / AUPIMO_BOUNDS[0]:,.0f} pixels in normal images"
        return values, {name: why for name, why in reasons.items() if math.isnan(values[name])}

    def pro_curve(
        self, limit: float = AUPRO_LIMIT
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False positive rates up to ``limit`` and mean overlaps; see ``binned_pro_curve``."""
        return binned_pro_curve(self.scores.ranking(), limit)

    def _published_pro(self) -> float:
        if self.scores.lowest == self.scores.highest:
            return math.nan
        thresholds = even_thresholds(self.scores.lowest, self.scores.highest)
        above = self.scores.above(thresholds) / self.scores.totals[:, None]
        return stretched_area(above[NORMAL], above[WEIGHT])


def _defect_scores(
    values: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(A,) score of each anomalous pixel, and 1 / size of its 8-connected region."""
    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.s_[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    chosen = np.ascontiguousarray(mask[box])
    count, regions = cv2.connectedComponents(chosen.view(np.uint8), connectivity=8)
    of_pixel = regions[chosen]
    return values[box][chosen], 1.0 / np.bincount(of_pixel, minlength=count)[of_pixel]
