"""Small label-preserving changes of training images, mask moved along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from clad.data.images import ImageArray, MaskArray

Augmentation = Literal["horizontal_flip", "vertical_flip", "rotate90", "brightness"]

_BRIGHTNESS_RANGE = (0.9, 1.1)


def augment(
    image: ImageArray, mask: MaskArray, names: Sequence[Augmentation], rng: np.random.Generator
) -> tuple[ImageArray, MaskArray]:
    """The image and its mask, changed by each named step in turn.

    Flips happen with probability 1/2; ``rotate90`` turns by a random multiple of 90 degrees (of
    180 if the image is not square); ``brightness`` multiplies by a factor in [0.9, 1.1].

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
        else:
            raise ValueError(
                "expected augmentation to be one of horizontal_flip, vertical_flip, rotate90, "
                f"brightness; got {name!r}"
            )
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)
