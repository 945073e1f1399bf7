"""Pixel work on uint8 RGB images that all generators share; thin, typed, and never in place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.synthesis.base import ImageArray, MaskArray

VISIBLE_LEVELS = 3
"""A pixel counts as changed if any channel moved by more grey levels than this."""
CLOSING = np.ones((5, 5), np.uint8)


def is_grey(image: ImageArray) -> bool:
    """Whether the three channels are (nearly) equal; such images get grey anomalies."""
    sample = image[::4, ::4].astype(np.int16)
    return bool((sample.max(axis=2) - sample.min(axis=2)).mean() < 3)


def without_colour(image: ImageArray) -> ImageArray:
    """Luminance of the image in all three channels."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def add_levels(image: ImageArray, levels: NDArray[np.floating]) -> ImageArray:
    """Image plus (H, W) or (H, W, 3) grey levels, rounded and clipped to [0, 255]."""
    if levels.ndim == 2:
        levels = np.asarray(cv2.merge([levels, levels, levels]))
    return np.asarray(cv2.add(image, levels, dtype=cv2.CV_8U), np.uint8)


def blend(image: ImageArray, layer: ImageArray, alpha: NDArray[np.float32]) -> ImageArray:
    """``image`` where alpha is 0, ``layer`` where it is 1; alpha is (H, W) float in [0, 1]."""
    gap = cv2.subtract(layer, image, dtype=cv2.CV_32F)
    step = cv2.multiply(gap, cv2.merge([alpha, alpha, alpha]))
    return np.asarray(cv2.add(image, step, dtype=cv2.CV_8U), np.uint8)


def tone_curve(image: ImageArray, curve: ArrayLike) -> ImageArray:
    """Image with each grey level replaced; ``curve`` is (256,), or (256, 3) for one per channel."""
    table = np.clip(np.rint(curve), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table if table.ndim == 1 else table[None]), np.uint8)


def warp(image: ImageArray, matrix: NDArray[np.float64], exact: bool = False) -> ImageArray:
    """Image moved by a 2 x 3 matrix on (column, row); mirrored beyond the frame.

    Args:
        image: (H, W, 3) uint8.
        matrix: Takes places in the image to places in the result.
        exact: Copy nearest pixels instead of interpolating.
    """
    method = cv2.INTER_NEAREST if exact else cv2.INTER_LINEAR
    size = (image.shape[1], image.shape[0])
    border = cv2.BORDER_REFLECT_101
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=method, borderMode=border), np.uint8
    )


def turn_matrix(
    centre: tuple[float, float], angle: float, zoom: float = 1.0
) -> NDArray[np.float64]:
    """2 x 3 matrix that turns by ``angle`` degrees and zooms about ``centre`` (row, column)."""
    matrix = cv2.getRotationMatrix2D((float(centre[1]), float(centre[0])), angle, zoom)
    return np.asarray(matrix, np.float64)


def sample_at(
    image: ImageArray, rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> ImageArray:
    """Image whose pixel (i, j) is read, interpolated, at (rows[i, j], columns[i, j])."""
    border = cv2.BORDER_REFLECT_101
    return np.asarray(
        cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=border), np.uint8
    )


def resize(image: ImageArray, shape: tuple[int, int]) -> ImageArray:
    """Image of (height, width) ``shape``, interpolated."""
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def flip(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Image mirrored along rows, columns or both."""
    return np.asarray(cv2.flip(image, int(rng.integers(-1, 2))), np.uint8)


def smooth(image: ImageArray, width_px: int, passes: int = 1) -> ImageArray:
    """Image averaged over squares of ``width_px``; two passes come near a Gaussian."""
    for _ in range(passes):
        image = np.asarray(cv2.blur(image, (width_px, width_px)), np.uint8)
    return image


def fill_polygon(shape: tuple[int, int], corners: NDArray[np.floating]) -> MaskArray:
    """(height, width) bool mask of a polygon given as (N, 2) corners (row, column)."""
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [np.rint(corners[:, ::-1]).astype(np.int32)], 1)
    return canvas.astype(bool)


def amplify(before: ImageArray, after: ImageArray, gain: float) -> ImageArray:
    """``before`` with its change to ``after`` multiplied by ``gain``."""
    return np.asarray(cv2.addWeighted(after, gain, before, 1 - gain, 0), np.uint8)


def soft_edge(region: MaskArray) -> NDArray[np.float32]:
    """(H, W) weight: 1 in the middle of the region, falling towards its edge, 0 outside."""
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(np.minimum(depth / max(0.4 * float(depth.max()), 1.0), 1), np.float32)


def changed_pixels(before: ImageArray, after: ImageArray, region: MaskArray) -> MaskArray:
    """Pixels of ``region`` that visibly changed, with holes of up to four pixels closed."""
    same = cv2.inRange(cv2.absdiff(before, after), (0, 0, 0), (VISIBLE_LEVELS,) * 3)
    changed = cv2.morphologyEx(cv2.bitwise_not(same), cv2.MORPH_CLOSE, CLOSING)
    return changed.astype(bool) & region


def mean_change(before: ImageArray, after: ImageArray, mask: MaskArray) -> float:
    """Mean absolute change inside the mask over pixels and channels, in grey levels."""
    if not mask.any():
        return 0.0
    return float(np.mean(cv2.mean(cv2.absdiff(before, after), mask.astype(np.uint8))[:3]))


def mean_inside(image: ImageArray, mask: MaskArray) -> NDArray[np.float64]:
    """(3,) mean of each channel inside the mask, in grey levels."""
    return np.asarray(cv2.mean(image, mask.astype(np.uint8))[:3])


def keep_inside(image: ImageArray, changed: ImageArray, mask: MaskArray) -> ImageArray:
    """``changed`` inside the mask and ``image`` outside, as a new array."""
    return np.asarray(cv2.copyTo(changed, mask.astype(np.uint8), image.copy()), np.uint8)


def appearance_change(
    before: ImageArray, after: ImageArray, mask: MaskArray
) -> tuple[float, float]:
    """How far colour and grain changed inside the mask, in grey levels.

    A piece of even texture moved elsewhere differs at each pixel and yet looks the same. So colour
    is compared after averaging over squares (9 pixels wide at 256 px), and grain by its mean
    strength along rows and along columns.

    Args:
        before: (H, W, 3) uint8.
        after: (H, W, 3) uint8.
        mask: (H, W) bool, not empty.

    Returns:
        Mean absolute change of local colour, and the larger change of mean grain of both axes.
    """
    width = 2 * max(1, round(min(mask.shape) / 64)) + 1
    left, top, columns, rows = cv2.boundingRect(mask.astype(np.uint8))
    window = np.s_[
        max(top - width, 0) : top + rows + width, max(left - width, 0) : left + columns + width
    ]
    inside = mask[window].astype(np.uint8)
    first, second = before[window], after[window]
    gap = cv2.absdiff(cv2.blur(first, (width, width)), cv2.blur(second, (width, width)))
    colour = float(np.mean(cv2.mean(gap, inside)[:3]))
    grain = 0.0
    greys = [cv2.cvtColor(part, cv2.COLOR_RGB2GRAY) for part in (first, second)]
    for kernel in ((width, 1), (1, width)):
        old, new = (
            cv2.mean(cv2.absdiff(grey, cv2.blur(grey, kernel)), inside)[0] for grey in greys
        )
        grain = max(grain, abs(new - old))
    return colour, grain
