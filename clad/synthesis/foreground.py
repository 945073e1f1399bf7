"""Where the object is, on images with a plain background; nothing where that is not clear."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from clad.synthesis.base import ImageArray, MaskArray

ForegroundMode = Literal["auto", "whole"]

THUMBNAIL_PX = 64
"""Longer side of the copy that is looked at: objects need no more, and it costs 0.2 ms."""
MAX_BORDER_SPREAD = 24.0
"""Grey levels by which three quarters of the border may differ from its own median colour."""
MIN_SEPARATION = 0.8
"""Share of variance that Otsu's threshold must explain; a smooth shading reaches only 0.75."""
AREA_RANGE = (0.03, 0.9)
"""An object covers this share of the image; anything else is no clear object."""
MAX_RIM_RATIO = 0.6
"""An object covers less of the border than of the whole, at most by this factor; a pattern such as
a brick wall covers as much of both."""


def find_object(image: ImageArray) -> MaskArray | None:
    """Mask of the object in front of a plain background, or None if there is no clear one.

    The median colour of the border is taken as background; pixels are split by Otsu's threshold on
    their difference from it. Textures, shaded surfaces and busy backgrounds give None.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H, W) bool, or None.

    Source: Otsu, IEEE Trans. SMC 1979 (threshold and its separability measure).
    """
    height, width = image.shape[:2]
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    border = np.concatenate([small[0], small[-1], small[1:-1, 0], small[1:-1, -1]])
    background = np.median(border, axis=0)
    if np.quantile(np.abs(border - background).max(axis=1), 0.75) > MAX_BORDER_SPREAD:
        return None
    difference = np.abs(small - background).max(axis=2).astype(np.uint8)
    threshold, _ = cv2.threshold(difference, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    found = difference > max(threshold, MAX_BORDER_SPREAD / 2)
    if not AREA_RANGE[0] <= found.mean() <= AREA_RANGE[1]:
        return None
    rim = np.concatenate([found[0], found[-1], found[1:-1, 0], found[1:-1, -1]])
    if rim.mean() > MAX_RIM_RATIO * found.mean():
        return None
    if _separation(difference, found) < MIN_SEPARATION:
        return None
    kernel = np.ones((3, 3), np.uint8)
    solid = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    full = cv2.resize(solid, (width, height), interpolation=cv2.INTER_NEAREST)
    return full.astype(bool)


def _separation(values: ImageArray, split: MaskArray) -> float:
    """Between-class variance over total variance, in [0, 1]."""
    total = float(values.var())
    if total == 0 or split.all() or not split.any():
        return 0.0
    share = float(split.mean())
    gap = float(values[split].mean()) - float(values[~split].mean())
    return share * (1 - share) * gap * gap / total
