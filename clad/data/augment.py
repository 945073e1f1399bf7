"""Small label-preserving changes of training images, mask moved along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from clad.data.images import ImageArray, MaskArray, resize_image, resize_mask

Augmentation = Literal["mosaic", "horizontal_flip", "vertical_flip", "rotate90", "brightness"]

MOSAIC: Augmentation = "mosaic"
MOSAIC_PROBABILITY = 0.2
"""APRIL-GAN's ``aug_rate``."""

_BRIGHTNESS_RANGE = (0.9, 1.1)


def augment(
    image: ImageArray, mask: MaskArray, names: Sequence[Augmentation], rng: np.random.Generator
) -> tuple[ImageArray, MaskArray]:
    """The image and its mask, changed by each named step in turn.

    Flips happen with probability 1/2; ``rotate90`` turns by a random multiple of 90 degrees (of
    180 if the image is not square); ``brightness`` multiplies by a factor in [0.9, 1.1].
    ``mosaic`` is left to the data set, which has other images (``tile``).

    Args:
        image: (H, W, 3) uint8, not written to.
        mask: (H, W) bool, not written to.
        names: Steps in order.
        rng: Source of all randomness.

    Raises:
        ValueError: If a name is unknown.
    """
    for name in names:
        if name == "horizontal_flip":
            if rng.random() < 0.5:
                image, mask = image[:, ::-1], mask[:, ::-1]
        elif name == "vertical_flip":
            if rng.random() < 0.5:
                image, mask = image[::-1], mask[::-1]
        elif name == "rotate90":
            turns = (
                int(rng.integers(4)) if mask.shape[0] == mask.shape[1] else 2 * int(rng.integers(2))
            )
            image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        elif name == "brightness":
            factor = rng.uniform(*_BRIGHTNESS_RANGE)
            image = np.clip(np.rint(image * factor), 0, 255).astype(np.uint8)
        elif name != MOSAIC:
            raise ValueError(
                "expected augmentation to be one of mosaic, horizontal_flip, vertical_flip, "
                f"rotate90, brightness; got {name!r}"
            )
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def tile(images: Sequence[ImageArray], masks: Sequence[MaskArray]) -> tuple[ImageArray, MaskArray]:
    """Four images in a square, row by row, each shrunk to a quarter, and their masks likewise.

    Args:
        images: Four (H, W, 3) uint8 of one size.
        masks: Four (H, W) bool.

    Source: APRIL-GAN's code (arXiv:2305.17382), ``combine_img``; there the four are joined at their
    stored size and shrunk together.
    """
    height, width = images[0].shape[:2]
    rows, columns = (0, height // 2, height), (0, width // 2, width)
    image, mask = np.empty_like(images[0]), np.empty_like(masks[0])
    for number in range(4):
        row, column = divmod(number, 2)
        top, bottom = rows[row : row + 2]
        left, right = columns[column : column + 2]
        size = (bottom - top, right - left)
        image[top:bottom, left:right] = resize_image(images[number], size)
        mask[top:bottom, left:right] = resize_mask(masks[number], size)
    return image, mask
