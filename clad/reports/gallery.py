"""Which images a reader should see, and the small copies of them that a run directory keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clad.metrics.collector import CollectedPredictions

ImageArray = NDArray[np.uint8]
LoadImage = Callable[[str, tuple[int, int]], ImageArray]
"""(path, (height, width)) -> (height, width, 3) uint8 RGB."""

# Percentiles are taken over at most this many map values; more changes nothing visible.
_SAMPLED_VALUES = 2_000_000
_PERCENTILES = (1.0, 99.9)


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
    per_category: int = 8,
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
    maps: NDArray[np.float32], scores: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> tuple[float, float]:
    """(low, high): raw map values at the two ends of the one colour scale of a run.

    The middle is the map value that as many maps reach as images are called anomalous; where the
    score is the maximum of the map that is the threshold itself. The ends lie evenly about it and
    take in the 1st and the 99.9th percentile. Labels play no part.

    Args:
        maps: (N, H, W) float.
        scores: (N,) float.
        thresholds: (N,) float, NaN where there is none; the scale then runs between percentiles.
    """
    step = max(1, maps.size // _SAMPLED_VALUES)
    low, high = (float(v) for v in np.percentile(maps.reshape(-1)[::step], _PERCENTILES))
    if not np.isnan(thresholds).any():
        peaks = maps.max(axis=(1, 2)).astype(np.float64)
        num_quiet = int((scores < thresholds).sum())
        middle = float(np.sort(peaks)[min(num_quiet, len(peaks) - 1)])
        half = max(middle - low, high - middle)
        low, high = middle - half, middle + half
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return low, high


def build_gallery(
    collected: CollectedPredictions,
    thresholds: Mapping[str, float] | None,
    load_image: LoadImage,
    per_category: int = 8,
    max_side_px: int = 256,
) -> Gallery:
    """Small copies of the chosen images with maps and masks on the same grid.

    Args:
        collected: Predictions of all test images.
        thresholds: Category name -> threshold, or None.
        load_image: Decodes and resizes; the collector keeps no images.
        per_category: As in ``choose_gallery``.
        max_side_px: Longest side of the copies.
    """
    picks = choose_gallery(
        collected.scores, collected.labels, collected.categories, thresholds, per_category
    )
    stored = (max_side_px, max_side_px) if collected.maps is None else collected.maps.shape[1:]
    shrink = min(1.0, max_side_px / max(stored))
    size = (max(1, round(stored[0] * shrink)), max(1, round(stored[1] * shrink)))
    images = [_expect_size(load_image(collected.paths[r], size), size) for r in picks.rows]
    maps, low, high = None, 0.0, 1.0
    masks = np.zeros((len(images), *size), dtype=bool)
    if collected.maps is not None and collected.masks is not None:
        limits = thresholds_of_images(collected.categories, thresholds)
        low, high = colour_scale(collected.maps, collected.scores, limits)
        on_scale = [(_resize_map(collected.maps[r], size) - low) / (high - low) for r in picks.rows]
        maps = np.clip(np.array(on_scale).reshape(-1, *size), 0, 1).astype(np.float16)
        for position, row in enumerate(picks.rows):
            masks[position] = _resize_mask(collected.masks[row], size)
    return Gallery(
        picks=picks,
        images=np.array(images, dtype=np.uint8).reshape(-1, *size, 3),
        has_mask=collected.has_mask[picks.rows] & (maps is not None),
        masks=masks,
        maps=maps,
        map_low=low,
        map_high=high,
    )


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


def _resize_map(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    resample = Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), resample))


def _resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    resized = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(resized, dtype=bool)
