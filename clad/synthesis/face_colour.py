"""Colour, sharpness and compression of faces; and making one face's colours fit another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.synthesis.base import ImageArray, MaskArray
from clad.synthesis.pixels import mean_inside, tone_curve

Change = Callable[[ImageArray], ImageArray]
"""A change whose random numbers are drawn already, so that two images get the same one."""
ColourTransfer = Literal["lab", "mean", "none"]

_MIN_SPREAD = 1e-3
_MAX_GAIN = 3.0
"""Largest factor of contrast that a transfer may ask for; flat faces would turn into noise."""


def chain(changes: Sequence[Change]) -> Change:
    """All changes, one after the other."""

    def run(image: ImageArray) -> ImageArray:
        for change in changes:
            image = change(image)
        return image

    return run


def shift_channels(image: ImageArray, levels: ArrayLike) -> ImageArray:
    """Image plus one number of grey levels per channel."""
    return tone_curve(image, np.arange(256)[:, None] + np.asarray(levels)[None])


def adjust_contrast(image: ImageArray, brightness: float, contrast: float) -> ImageArray:
    """Image times (1 + contrast) plus 255 x brightness."""
    return tone_curve(image, np.arange(256) * (1 + contrast) + 255 * brightness)


def shift_hsv(image: ImageArray, hue: float, saturation: float, value: float) -> ImageArray:
    """Image with hue (in half degrees), saturation and value (in 255ths) shifted.

    Shifts are rounded; shifts of less than a half leave only the rounding of the colour space.
    """
    levels = np.arange(256)
    table = np.stack(
        [
            np.mod(levels + round(hue), 180),
            np.clip(levels + round(saturation), 0, 255),
            np.clip(levels + round(value), 0, 255),
        ],
        axis=1,
    ).astype(np.uint8)
    shifted = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[None])
    return np.asarray(cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB), np.uint8)


def coarsen(image: ImageArray, share: float, nearest: bool = False) -> ImageArray:
    """Image shrunk to a share of its sides, and enlarged again by linear interpolation.

    Args:
        image: (H, W, 3) uint8.
        share: In (0, 1].
        nearest: Shrink by picking pixels, instead of interpolating.
    """
    height, width = image.shape[:2]
    small = (max(round(width * share), 1), max(round(height * share), 1))
    method = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    shrunk = cv2.resize(image, small, interpolation=method)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def sharpen(image: ImageArray, strength: float, lightness: float) -> ImageArray:
    """Image mixed with its sharpened copy.

    Args:
        image: (H, W, 3) uint8.
        strength: Share of the sharpened copy, in [0, 1].
        lightness: The copy is 8 + lightness times a pixel less its eight neighbours; 1 keeps the
            mean.
    """
    kernel = np.full((3, 3), -strength, np.float32)
    kernel[1, 1] = (1 - strength) + strength * (8 + lightness)
    return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)


def compress(image: ImageArray, quality: int) -> ImageArray:
    """Image after JPEG of a quality in [1, 100], as OpenCV encodes it (4:2:0)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def transfer_colours(
    source: ImageArray, target: ImageArray, region: MaskArray, how: ColourTransfer
) -> ImageArray:
    """The source with the colours that the target has inside the region.

    Args:
        source: (H, W, 3) uint8, already where it is going to be pasted.
        target: (H, W, 3) uint8.
        region: (H, W) bool, not empty; statistics are taken here.
        how: ``mean`` adds the difference of both means in RGB (Face X-ray); ``lab`` gives mean and
            standard deviation of the target in CIE L*a*b*; ``none`` leaves it.

    Source: Reinhard et al., IEEE Computer Graphics and Applications 21(5), 2001, equations 10 and
    11, in L*a*b* instead of their l-alpha-beta.
    """
    if how == "none":
        return source
    if how == "mean":
        return shift_channels(source, mean_inside(target, region) - mean_inside(source, region))
    first, second = _to_lab(source), _to_lab(target)
    own_mean, own_spread = _statistics(first, region)
    mean, spread = _statistics(second, region)
    gain = np.minimum(spread / np.maximum(own_spread, _MIN_SPREAD), _MAX_GAIN)
    changed = (first - own_mean) * gain.astype(np.float32) + mean
    rgb = cv2.cvtColor(changed.astype(np.float32), cv2.COLOR_Lab2RGB)
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), np.uint8)


def _to_lab(image: ImageArray) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab))


def _statistics(
    image: NDArray[np.float32], region: MaskArray
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(3,) mean and standard deviation inside the region."""
    mean, spread = cv2.meanStdDev(image, mask=region.astype(np.uint8))
    return mean.ravel().astype(np.float32), spread.ravel().astype(np.float32)
