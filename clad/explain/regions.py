"""Anomaly maps -> connected areas: where to look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clad.types import Region

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def half_maximum(anomaly_map: NDArray) -> float:
    """The level midway between the median of a map and its maximum; NaN for a flat map.

    It depends on nothing but the map, so there is a hottest area in good images, too: whether an
    image is anomalous is for its score to say.

    Args:
        anomaly_map: (H, W) float.
    """
    middle, highest = float(np.median(anomaly_map)), float(anomaly_map.max())
    return (middle + highest) / 2 if highest > middle else float("nan")


def find_regions(
    anomaly_map: NDArray, level: float, image_size: tuple[int, int] | None = None
) -> tuple[Region, ...]:
    """Connected areas (diagonals count) at or above a level, hottest first, then largest.

    Args:
        anomaly_map: (H, W) float.
        level: In units of the map; NaN finds nothing.
        image_size: (height, width) of the image that boxes and areas are given in pixels of; None
            takes the map's own. A box then covers every pixel that the area touches.
    """
    labelled, count = ndimage.label(anomaly_map >= level, _EIGHT_NEIGHBOURS)
    if not count:
        return ()
    height, width = anomaly_map.shape if image_size is None else image_size
    down, across = height / anomaly_map.shape[0], width / anomaly_map.shape[1]
    numbers = range(1, count + 1)
    areas = np.bincount(labelled.ravel(), minlength=count + 1)[1:]
    peaks = ndimage.maximum(anomaly_map, labelled, numbers)
    regions = []
    for (rows, columns), area, peak in zip(
        ndimage.find_objects(labelled), areas.tolist(), peaks, strict=True
    ):
        box = (
            int(rows.start * down),
            int(columns.start * across),
            int(np.ceil(rows.stop * down)),
            int(np.ceil(columns.stop * across)),
        )
        regions.append(Region(box, max(1, round(area * down * across)), float(peak)))
    return tuple(sorted(regions, key=lambda region: (-region.score, -region.area_px, region.box)))


def hot_regions(
    anomaly_map: NDArray, image_size: tuple[int, int] | None = None
) -> tuple[Region, ...]:
    """``find_regions`` at half maximum: none in a flat map, at least one in any other."""
    return find_regions(anomaly_map, half_maximum(anomaly_map), image_size)


def hottest_area(anomaly_map: NDArray) -> NDArray[np.bool_]:
    """(H, W) bool, True in the connected area at half maximum that holds the largest value.

    All True for a flat map, where no place is hotter than another.

    Args:
        anomaly_map: (H, W) float.
    """
    level = half_maximum(anomaly_map)
    if np.isnan(level):
        return np.ones(anomaly_map.shape, dtype=bool)
    labelled, _ = ndimage.label(anomaly_map >= level, _EIGHT_NEIGHBOURS)
    return np.asarray(labelled == labelled.flat[int(anomaly_map.argmax())])
