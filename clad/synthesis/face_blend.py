"""Pasting one face into another: by weights, or without a seam by Poisson's equation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from clad.synthesis.base import ImageArray, MaskArray
from clad.synthesis.face_masks import Weights, feathered
from clad.synthesis.pixels import CLOSING, blend

FloatArray = NDArray[np.float32]
BlendKind = Literal["poisson", "feather"]

MIN_WEIGHT = 1 / 32
"""Blending weights up to this are set to 0: nothing is blended there, and it is not forged."""
_SWEEPS = 12
"""Relaxation steps per resolution; the coarser ones have brought the solution near."""
_CROSS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


@dataclass(frozen=True)
class Blend:
    """What is blended with what.

    Args:
        target: (H, W, 3) uint8: the face that is forged.
        source: (H, W, 3) uint8: what is pasted.
        weights: (H, W) float32 in [0, 1]: share of the source.
    """

    target: ImageArray
    source: ImageArray
    weights: Weights


def compose(made: Blend) -> tuple[ImageArray, MaskArray]:
    """The blended image and the mask of what comes from the source.

    A pixel is in the mask if its weight is above ``MIN_WEIGHT`` and a channel changed; holes of
    pixels that happen to be equal are closed up to a width of four. Everything outside equals the
    target.

    Returns:
        (H, W, 3) uint8 and (H, W) bool, which may be empty.
    """
    weights = np.where(made.weights > MIN_WEIGHT, made.weights, np.float32(0))
    image = blend(made.target, made.source, weights)
    changed = (image != made.target).any(axis=2).astype(np.uint8)
    closed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, CLOSING).astype(bool)
    return image, np.asarray((closed | changed.astype(bool)) & (weights > 0))


def paste(
    target: ImageArray,
    source: ImageArray,
    region: MaskArray,
    how: BlendKind,
    feather: float,
) -> Blend:
    """The source in the region of the target.

    Args:
        target: (H, W, 3) uint8.
        source: (H, W, 3) uint8, already where it is going to be pasted.
        region: (H, W) bool.
        how: ``poisson`` keeps the source's gradients and the target's colours around the region;
            ``feather`` mixes with weights that rise from its edge.
        feather: Width of that slope as a share of the region's longer side.
    """
    if how == "feather":
        return Blend(target, source, feathered(region, feather))
    return Blend(target, seamless(source, target, region), region.astype(np.float32))


def seamless(source: ImageArray, target: ImageArray, region: MaskArray) -> ImageArray:
    """The source inside the region, shifted in colour so that it meets the target at the edge.

    The shift is the smoothest field (a membrane) with the difference of both images just outside
    of the region as its border. Outside the region the target is unchanged. Where the region meets
    the edge of the image, the shift continues evenly.

    Returns:
        (H, W, 3) uint8.

    Source: Poisson Image Editing (Pérez et al., SIGGRAPH 2003), section 2: importing gradients
    equals adding the membrane of equation 5.
    """
    if not region.any() or region.all():
        return np.where(region[..., None], source, target)
    left, top, width, height = cv2.boundingRect(region.astype(np.uint8))
    part = np.s_[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1]
    gap = np.asarray(cv2.subtract(target[part], source[part], dtype=cv2.CV_32F), np.float32)
    shift = membrane(gap, region[part])
    result = target.copy()
    blended = cv2.add(source[part], shift, dtype=cv2.CV_8U)
    result[part] = np.where(region[part][..., None], blended, target[part])
    return result


def membrane(values: FloatArray, region: MaskArray) -> FloatArray:
    """Values outside the region, and inside the field that solves Laplace's equation.

    Solved from coarse to fine: each resolution starts from the one half as wide and relaxes it.
    What is left of the error is on average below a fiftieth of the range of the border
    (tests/synthesis/test_face_blend.py).

    Args:
        values: (H, W, C) float32; those inside the region are ignored.
        region: (H, W) bool; if all of it is True, the field is 0.

    Returns:
        (H, W, C) float32.
    """
    inside = region.astype(np.uint8)
    weights = (~region).astype(np.float32)
    start = values * weights[..., None]
    height, width = region.shape
    if region.any() and max(height, width) > 2:
        half = ((width + 1) // 2, (height + 1) // 2)
        coarse = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
        sums = cv2.resize(start, half, interpolation=cv2.INTER_AREA)
        means = sums.reshape(*coarse.shape, -1) / np.maximum(coarse, 1e-6)[..., None]
        solved = membrane(means.astype(np.float32), coarse <= 0)
        guess = cv2.resize(solved, (width, height), interpolation=cv2.INTER_LINEAR)
        field = cv2.copyTo(guess.reshape(values.shape), inside, start)
    elif weights.sum() > 0:
        mean = start.sum(axis=(0, 1)) / weights.sum()
        field = np.where(region[..., None], mean, start).astype(np.float32)
    else:
        return np.zeros_like(values)
    for _ in range(_SWEEPS if region.any() else 0):
        relaxed = cv2.filter2D(field, -1, _CROSS, borderType=cv2.BORDER_REPLICATE)
        cv2.copyTo(relaxed.reshape(values.shape), inside, field)
    return np.asarray(field, np.float32)
