"""Pixel metrics of one category in bounded memory, from batches that come once."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from clad.metrics.evaluation import Reasons, Values
from clad.metrics.functional.binned import (
    binned_aupro,
    binned_auroc,
    binned_average_precision,
    binned_f1_max,
)
from clad.metrics.histogram import ANOMALOUS, NUM_BINS, ScoreHistogram

PIXEL_METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro")


class PixelState:
    """What is kept of the maps and masks of a category.

    Args:
        num_bins: Of the histogram of scores.
    """

    def __init__(self, num_bins: int = NUM_BINS) -> None:
        self.histogram = ScoreHistogram(num_bins)
        self.num_regions = 0

    def update(self, maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> None:
        """Take in images whose masks are known.

        Args:
            maps: (B, H, W) float32, finite; larger = more anomalous.
            masks: (B, H, W) bool.
        """
        found = [self._defects(*each) for each in zip(maps, masks, strict=True) if each[1].any()]
        anomalous, weights = zip(*found, strict=True) if found else ([maps[:0].reshape(-1)], None)
        self.histogram.count(
            maps.reshape(-1),
            np.concatenate(anomalous),
            None if weights is None else np.concatenate(weights),
        )

    def _defects(
        self, values: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Score and 1 / size of its region of each anomalous pixel."""
        bytes_ = np.ascontiguousarray(mask).view(np.uint8)
        left, top, width, height = cv2.boundingRect(bytes_)
        box = np.s_[top : top + height, left : left + width]
        count, regions = cv2.connectedComponents(bytes_[box], connectivity=8)
        self.num_regions += count - 1
        chosen = mask[box]
        of_pixel = regions[chosen]
        return values[box][chosen], 1.0 / np.bincount(of_pixel, minlength=count)[of_pixel]

    def merge(self, other: PixelState) -> None:
        """Take in what another one has seen."""
        self.histogram.merge(other.histogram)
        self.num_regions += other.num_regions

    def metrics(self) -> tuple[Values, Reasons]:
        """Each of ``PIXEL_METRICS``, and why those that are NaN have no value."""
        ranking = self.histogram.ranking()
        values = {
            "pixel_auroc": binned_auroc(ranking),
            "pixel_ap": binned_average_precision(ranking),
            "pixel_f1_max": binned_f1_max(ranking),
            "pixel_aupro": binned_aupro(ranking),
        }
        if ranking.is_defined:
            return values, {}
        lacking = "anomalous" if not self.histogram.counts[ANOMALOUS].any() else "normal"
        return values, dict.fromkeys(values, f"no {lacking} pixel")
