"""Which images a reader should see, and the small copies of them that a run directory keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions
from clad.metrics.keepsakes import MAX_SIDE_PX, PER_CATEGORY, Keepsakes
from clad.metrics.score_counts import ScoreCounts

ImageArray = NDArray[np.uint8]
LoadImage = Callable[[str, tuple[int, int]], ImageArray]
"""(path, (height, width)) -> (height, width, 3) uint8 RGB."""

_LOW, _HIGH = 0.01, 0.999
"""Shares of map values below the ends of the colour scale."""


@dataclass(frozen=True)
class Picks:
    """Rows of the images to show, category by category.

    Args:
        rows: (G,) int64 positions among the predictions.
        is_hit: (G,) bool; False for the worst cases, which come first within a category.
    """

    rows: NDArray[np.int64]
    is_hit: NDArray[np.bool_]


@dataclass(frozen=True)
class Gallery:
    """Small copies of the chosen images.

    Args:
        picks: Which predictions they belong to.
        images: (G, H, W, 3) uint8 RGB.
        has_mask: (G,) bool, whether the mask is known.
        masks: (G, H, W) bool; all False where unknown.
        maps: (G, H, W) float16 position on the run's one colour scale, 0 at ``map_low``, 1 at
            ``map_high``, clipped there; None for image-only heads.
        map_low: Raw map value at the cold end.
        map_high: Raw map value at the hot end; the middle stands for the threshold.
    """

    picks: Picks
    images: ImageArray
    has_mask: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    maps: NDArray[np.float16] | None
    map_low: float
    map_high: float

    def __len__(self) -> int:
        return len(self.picks.rows)


def choose_gallery(
    scores: NDArray[np.float64],
    labels: NDArray,
    categories: Sequence[str],
    thresholds: Mapping[str, float] | None = None,
    per_category: int = PER_CATEGORY,
) -> Picks:
    """The worst cases and the best hits of each category.

    Worst: the lowest-scoring anomalous images (half of ``per_category``), then the highest-scoring
    normal ones. Best: the highest-scoring anomalous images at or above the threshold. No image is
    chosen twice; images of equal score are taken in their order.

    Args:
        scores: (N,) float; larger = more anomalous.
        labels: (N,) 0 and 1.
        categories: N names.
        thresholds: Category name -> threshold; None takes every anomalous image for a hit.
        per_category: Largest number of worst cases, and of best hits, per category.
    """
    of_image = np.asarray(categories)
    half = per_category // 2
    rows: list[int] = []
    is_hit: list[bool] = []
    for category in dict.fromkeys(categories):
        members = np.flatnonzero(of_image == category)
        rising = members[np.argsort(scores[members], kind="stable")]
        falling = members[np.argsort(-scores[members], kind="stable")]
        missed = rising[labels[rising] == 1][:half]
        alarms = falling[labels[falling] == 0][:half]
        limit = -np.inf if thresholds is None else thresholds[category]
        is_candidate = (labels[falling] == 1) & (scores[falling] >= limit)
        hits = [row for row in falling[is_candidate] if row not in set(missed)][:per_category]
        rows += [*missed, *alarms, *hits]
        is_hit += [False] * (len(missed) + len(alarms)) + [True] * len(hits)
    return Picks(np.array(rows, dtype=np.int64), np.array(is_hit, dtype=bool))


def colour_scale(
    low: float,
    high: float,
    peaks: NDArray[np.floating],
    scores: NDArray[np.float64],
    thresholds: NDArray[np.float64],
) -> tuple[float, float]:
    """(low, high): raw map values at the two ends of the one colour scale of a run.

    The middle is the map value that as many maps reach as images are called anomalous; where the
    score is the maximum of the map that is the threshold itself. The ends lie evenly about it and
    take in the 1st and the 99.9th percentile. Labels play no part.

    Args:
        low: 1st percentile of all map values.
        high: 99.9th percentile.
        peaks: (N,) largest value of each map.
        scores: (N,) float.
        thresholds: (N,) float, NaN where there is none; the scale then runs between percentiles.
    """
    if not np.isnan(thresholds).any():
        num_quiet = int((scores < thresholds).sum())
        middle = float(np.sort(peaks)[min(num_quiet, len(peaks) - 1)])
        half = max(middle - low, high - middle)
        low, high = middle - half, middle + half
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return low, high


def percentiles(values: ScoreCounts) -> tuple[float, float]:
    """1st and 99.9th percentile, which a colour scale takes in."""
    return values.quantile(_LOW), values.quantile(_HIGH)


def build_gallery(
    collected: CollectedPredictions,
    thresholds: Mapping[str, float] | None,
    load_image: LoadImage,
) -> Gallery:
    """Small copies of the chosen images with maps and masks on the same grid.

    Args:
        collected: Predictions of all test images, with keepsakes if they have maps.
        thresholds: Category name -> threshold, or None.
        load_image: Decodes and resizes; nobody keeps images.
    """
    picks = choose_gallery(collected.scores, collected.labels, collected.categories, thresholds)
    keepsakes = collected.keepsakes
    size = (MAX_SIDE_PX, MAX_SIDE_PX) if keepsakes is None else keepsakes.size
    images = [_expect_size(load_image(collected.paths[r], size), size) for r in picks.rows]
    maps, low, high = None, 0.0, 1.0
    masks = np.zeros((len(images), *size), dtype=bool)
    if keepsakes is not None:
        limits = thresholds_of_images(collected.categories, thresholds)
        ends = percentiles(_map_values(collected, keepsakes))
        low, high = colour_scale(*ends, keepsakes.peaks, collected.scores, limits)
        kept = keepsakes.by_row()
        on_scale = [(kept[row].small_map - low) / (high - low) for row in picks.rows.tolist()]
        maps = np.clip(np.array(on_scale).reshape(-1, *size), 0, 1).astype(np.float16)
        for position, row in enumerate(picks.rows.tolist()):
            masks[position] = kept[row].small_mask
    return Gallery(
        picks=picks,
        images=np.array(images, dtype=np.uint8).reshape(-1, *size, 3),
        has_mask=collected.has_mask[picks.rows] & (maps is not None),
        masks=masks,
        maps=maps,
        map_low=low,
        map_high=high,
    )


def _map_values(collected: CollectedPredictions, keepsakes: Keepsakes) -> ScoreCounts:
    """All map values, of images with and without a known mask."""
    whole = ScoreCounts()
    for each in (*(state.scores for state in collected.pixels.values()), keepsakes.unmasked):
        whole.merge(each)
    return whole


def thresholds_of_images(
    categories: Sequence[str], thresholds: Mapping[str, float] | None
) -> NDArray[np.float64]:
    """(N,) float64 threshold of each image's category; NaN where there are no thresholds."""
    if thresholds is None:
        return np.full(len(categories), np.nan)
    return np.array([thresholds[name] for name in categories], dtype=np.float64)


def _expect_size(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    if image.shape != (*size, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"expected load_image to give uint8 of shape {(*size, 3)}, "
            f"got {image.dtype} of shape {image.shape}"
        )
    return image
