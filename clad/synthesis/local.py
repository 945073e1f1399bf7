"""What all industrial generators share: checks, placement, retries, and the exact mask."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from clad.checks import expect_choice
from clad.synthesis.base import ImageArray, MaskArray, Synthesizer
from clad.synthesis.foreground import ForegroundMode, find_object
from clad.synthesis.noise import ellipse_distance
from clad.synthesis.pixels import (
    add_levels,
    amplify,
    appearance_change,
    changed_pixels,
    keep_inside,
    mean_change,
    soft_edge,
)

MIN_SIDE_PX = 32
MAX_TRIES = 6
MIN_MEAN_CHANGE = 5.0
"""Mean absolute change inside the mask, in grey levels, below which a proposal is drawn again."""
MIN_COLOUR_CHANGE = 4.0
MIN_GRAIN_CHANGE = 3.0
"""Either local colour or grain must change by this many grey levels to be seen at all."""
MIN_AREA_PX = 8
MIN_SHARE_ON_OBJECT = 0.25
GAINS = (2.0, 4.0)
"""Factors by which the last proposal's change is amplified if none could be seen."""
RESCUE_LEVELS = 32
"""Change that is forced where nothing else helped, e.g. on an image of one colour."""


def expect_image(image: ImageArray) -> None:
    """Refuse anything but (H, W, 3) uint8 with both sides >= 32.

    Raises:
        ValueError: With the dtype or shape given.
    """
    dtype, shape = getattr(image, "dtype", type(image).__name__), np.shape(image)
    if dtype != np.uint8:
        raise ValueError(f"expected a uint8 image in [0, 255], got {dtype}; convert it first")
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"expected an image (height, width, 3), got {shape}; repeat grey 3 times")
    if min(shape[:2]) < MIN_SIDE_PX:
        raise ValueError(f"expected sides >= {MIN_SIDE_PX} px, got {shape[:2]}; resize the image")


def expect_interval(name: str, pair: tuple[float, float], low: float, high: float) -> None:
    """Refuse a pair that is not ``low <= first <= second <= high``.

    Raises:
        ValueError: With the allowed interval and the pair given.
    """
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(
            f"expected {name} to be (smallest, largest) within [{low}, {high}], got {tuple(pair)}"
        )


def log_uniform(rng: np.random.Generator, pair: tuple[float, float]) -> float:
    """A number between both ends, each octave equally likely; both must be > 0."""
    return float(np.exp(rng.uniform(np.log(pair[0]), np.log(pair[1]))))


def random_sign(rng: np.random.Generator) -> int:
    """-1 or 1."""
    return 1 if rng.random() < 0.5 else -1


def pick_centre(
    shape: tuple[int, ...], target: MaskArray | None, rng: np.random.Generator
) -> tuple[int, int]:
    """(row, column) of a random pixel of the object, or of the image if there is none."""
    height, width = shape[:2]
    if target is None:
        return int(rng.integers(height)), int(rng.integers(width))
    pixels = np.flatnonzero(target)
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), width)
    return row, column


class LocalSynthesizer(Synthesizer):
    """A generator that changes a region and leaves all other pixels as they are.

    A variant only proposes a change. This class checks the image, finds the object, cuts the mask
    down to the pixels that changed, restores all others, draws again (at most six times) if the
    change is too faint, too small or beside the object, then amplifies the last one, and at last
    lightens or darkens its region. An unchanged image is never returned.

    Args:
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.
    """

    def __init__(self, foreground: ForegroundMode = "auto") -> None:
        expect_choice("foreground", foreground, ("auto", "whole"))
        self.foreground = foreground

    @abstractmethod
    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """A changed copy and the region within which it was meant to change.

        Args:
            image: (H, W, 3) uint8, never written to.
            target: (H, W) bool object mask, or None for the whole image; not empty.
            rng: Source of all randomness.

        Returns:
            (H, W, 3) uint8 and (H, W) bool.
        """

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> tuple[ImageArray, MaskArray]:
        """Anomalous copy of ``image`` and the mask of what changed; see ``Synthesizer``.

        Raises:
            ValueError: If the image is not (H, W, 3) uint8 with sides >= 32.
        """
        expect_image(image)
        image = np.ascontiguousarray(image)
        target = find_object(image) if self.foreground == "auto" else None
        changed, region = image, np.zeros(image.shape[:2], bool)
        for _ in range(MAX_TRIES):
            changed, region = self.propose(image, target, rng)
            mask = changed_pixels(image, changed, region)
            if is_enough(image, changed, mask, target):
                return keep_inside(image, changed, mask), mask
        for gain in GAINS:
            stronger = amplify(image, changed, gain)
            mask = changed_pixels(image, stronger, region)
            if is_enough(image, stronger, mask, target):
                return keep_inside(image, stronger, mask), mask
        return rescue(image, region, target, rng)


def is_enough(
    image: ImageArray, changed: ImageArray, mask: MaskArray, target: MaskArray | None
) -> bool:
    """Whether the change is large enough, can be seen, and lies on the object."""
    area = int(np.count_nonzero(mask))
    if area < MIN_AREA_PX:
        return False
    if target is not None and np.count_nonzero(mask & target) < MIN_SHARE_ON_OBJECT * area:
        return False
    if mean_change(image, changed, mask) < MIN_MEAN_CHANGE:
        return False
    colour, grain = appearance_change(image, changed, mask)
    return colour >= MIN_COLOUR_CHANGE or grain >= MIN_GRAIN_CHANGE


def rescue(
    image: ImageArray, region: MaskArray, target: MaskArray | None, rng: np.random.Generator
) -> tuple[ImageArray, MaskArray]:
    """The last proposed region made lighter or darker, whichever has room; never unchanged."""
    region = region if target is None else region & target
    if np.count_nonzero(region) < MIN_AREA_PX:
        radius = min(image.shape[:2]) * rng.uniform(0.05, 0.15)
        centre = pick_centre(image.shape, target, rng)
        region = ellipse_distance(image.shape[:2], centre, (radius, radius), 0.0) <= 1
    sign = 1 if image[region].mean() < 128 else -1
    changed = add_levels(image, sign * RESCUE_LEVELS * soft_edge(region))
    mask = changed_pixels(image, changed, region)
    return keep_inside(image, changed, mask), mask
