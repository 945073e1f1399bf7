"""Boxes of faces as arrays: overlap, suppression, merging, order, and photos made smaller.

Boxes are (N, 4) float64 of (top, left, bottom, right) in pixels, the last two exclusive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clad.faces.base import DetectedFace, ImageArray

Boxes = NDArray[np.float64]
Measure = Literal["union", "smaller"]
"""What an intersection is divided by: the area of both boxes together, or of the smaller one."""


def overlaps(box: NDArray[np.float64], others: Boxes, measure: Measure = "union") -> NDArray:
    """(N,) float64 in [0, 1]: what a box and each of the others have in common.

    0 where neither box has an area.

    Args:
        box: (4,).
        others: (N, 4).
        measure: What the intersection is divided by.
    """
    heights = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    widths = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    common = np.maximum(heights, 0) * np.maximum(widths, 0)
    own, areas = _areas(box[None])[0], _areas(others)
    whole = own + areas - common if measure == "union" else np.minimum(own, areas)
    return np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)


def suppress(
    boxes: Boxes, scores: NDArray, most: float, measure: Measure = "union"
) -> NDArray[np.int64]:
    """Positions of the boxes that are kept, best score first.

    A box goes if it overlaps a better one by more than ``most`` (non-maximum suppression); of equal
    scores the earlier one is the better.

    Args:
        boxes: (N, 4).
        scores: (N,).
        most: Overlap that two kept boxes may have, in [0, 1].
        measure: What overlaps are shares of.
    """
    waiting = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = waiting[overlaps(boxes[best], boxes[waiting], measure) <= most]
    return np.array(kept, dtype=np.int64)


def merge(boxes: Boxes, least: float) -> tuple[Boxes, NDArray[np.int64]]:
    """Mean boxes of groups, and how many each holds; the largest group first.

    Two boxes are of one group if they, or a chain of boxes between them, overlap by at least
    ``least`` of the smaller one.

    Args:
        boxes: (N, 4).
        least: In (0, 1].
    """
    groups: list[list[int]] = []
    for index, box in enumerate(boxes):
        touched = [
            group for group in groups if (overlaps(box, boxes[group], "smaller") >= least).any()
        ]
        groups = [group for group in groups if group not in touched]
        groups.append(sorted([index, *(member for group in touched for member in group)]))
    groups.sort(key=lambda group: (-len(group), group))
    means = np.array([boxes[group].mean(axis=0) for group in groups]).reshape(-1, 4)
    return means, np.array([len(group) for group in groups], dtype=np.int64)


def largest_first(faces: Iterable[DetectedFace]) -> tuple[DetectedFace, ...]:
    """The faces by falling area of their boxes, then by rising position."""
    return tuple(sorted(faces, key=lambda face: (-_area(face), face.box)))


def shrunk(image: ImageArray, longest_side_px: int) -> tuple[ImageArray, float]:
    """The image with sides of at most ``longest_side_px``, and what its coordinates are divided by.

    Bilinear and antialiased; a smaller image comes back as it is, with 1.

    Args:
        image: (H, W, 3) uint8.
        longest_side_px: At least 1.
    """
    height, width = image.shape[:2]
    factor = longest_side_px / max(height, width)
    if factor >= 1:
        return image, 1.0
    size = max(1, round(width * factor)), max(1, round(height * factor))
    smaller = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(smaller, dtype=np.uint8), factor


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides.prod(axis=1), dtype=np.float64)


def _area(face: DetectedFace) -> float:
    top, left, bottom, right = face.box
    return (bottom - top) * (right - left)
