"""Stains, holes and dents: compact bright or dark marks with soft or sharp edges."""

from __future__ import annotations

from typing import Literal

import numpy as np

from clad.checks import expect_choice
from clad.synthesis.base import ImageArray, MaskArray
from clad.synthesis.foreground import ForegroundMode
from clad.synthesis.local import (
    LocalSynthesizer,
    expect_interval,
    log_uniform,
    pick_centre,
    random_sign,
)
from clad.synthesis.noise import FloatArray, blob_distance, cells_of_size, fractal_noise
from clad.synthesis.pixels import add_levels, is_grey

Kind = Literal["stain", "hole", "dent"]
KINDS: tuple[Kind, ...] = ("stain", "hole", "dent")
MIN_RADIUS_PX = 1.6
REACH = 2.6
"""Radii within which marks end nearly always: longest axis times what noise may add."""


class Blobs(LocalSynthesizer):
    """One or more marks of a drawn kind.

    A stain tints the surface and may have a darker rim; a hole is almost flat with a sharp edge; a
    dent is bright on one side and dark on the other, as under a lamp from the side.

    Args:
        kinds: Kinds to draw from, each equally likely: stain, hole, dent.
        count: Fewest and most marks.
        size: Smallest and largest diameter as shares of the shorter side.
        contrast: Weakest and strongest change in grey levels.
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...] = KINDS,
        count: tuple[int, int] = (1, 3),
        size: tuple[float, float] = (0.02, 0.3),
        contrast: tuple[float, float] = (15.0, 90.0),
        foreground: ForegroundMode = "auto",
    ) -> None:
        super().__init__(foreground)
        if not kinds:
            raise ValueError(f"expected at least one kind, got none; choose of {', '.join(KINDS)}")
        for kind in kinds:
            expect_choice("kind", kind, KINDS)
        expect_interval("count", count, 1, 50)
        expect_interval("size", size, 0.005, 1.0)
        expect_interval("contrast", contrast, 5, 255)
        self.kinds, self.count = kinds, count
        self.size, self.contrast = size, contrast

    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """Marks added to the image; see ``LocalSynthesizer``."""
        shape = image.shape[:2]
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        levels = np.zeros(shape, np.float32)
        region = np.zeros(shape, bool)
        diameter = log_uniform(rng, self.size) * min(shape)
        contrast = log_uniform(rng, self.contrast)
        for _ in range(int(rng.integers(self.count[0], self.count[1] + 1))):
            radius = max(diameter * rng.uniform(0.4, 1.0) / 2, MIN_RADIUS_PX)
            window, centre = _window_around(shape, pick_centre(shape, target, rng), radius)
            aspect = np.sqrt(log_uniform(rng, (0.4, 2.5)))
            radii = (radius * aspect, radius / aspect)
            frame = levels[window].shape
            distance = blob_distance(frame, centre, radii, rng, rng.uniform(0.1, 0.8))
            levels[window] += DRAW[kind](distance, radius, contrast, rng)
            region[window] |= distance < 1
        if kind == "stain" and not is_grey(image):
            tint = 1 + rng.normal(0, 0.35, 3).astype(np.float32)
            return add_levels(image, levels[..., None] * tint), region
        return add_levels(image, levels), region


def _window_around(
    shape: tuple[int, int], centre: tuple[int, int], radius: float
) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """The part of the frame that a mark can reach, and the centre as seen from there."""
    reach = int(REACH * radius) + 3
    top, left = max(centre[0] - reach, 0), max(centre[1] - reach, 0)
    bottom, right = min(centre[0] + reach + 1, shape[0]), min(centre[1] + reach + 1, shape[1])
    window = (slice(top, bottom), slice(left, right))
    return window, (centre[0] - top, centre[1] - left)


def edge_alpha(distance: FloatArray, softness: float) -> FloatArray:
    """Weight that falls from 1 to 0 at distance 1 over the last ``softness`` of the radius."""
    ramp = np.clip((1 - distance) / np.float32(softness), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def draw_stain(
    distance: FloatArray, radius: float, contrast: float, rng: np.random.Generator
) -> FloatArray:
    """Soft or sharp tint, mottled by noise, with a darker rim at times; grey levels."""
    alpha = edge_alpha(distance, rng.uniform(0.1, 0.9))
    if rng.random() < 0.4:
        alpha = alpha * np.clip(distance + np.float32(rng.uniform(0.1, 0.5)), 0, 1)
    cells = cells_of_size(distance.shape, max(radius / 2, 3.0))
    mottle = 1 + fractal_noise(distance.shape, cells, rng) * np.float32(rng.uniform(0, 1.2))
    return np.asarray(alpha * mottle * (contrast * random_sign(rng)), np.float32)


def draw_hole(
    distance: FloatArray, radius: float, contrast: float, rng: np.random.Generator
) -> FloatArray:
    """Dark (at times bright) spot with an edge about one pixel soft; grey levels."""
    sign = 1 if rng.random() < 0.25 else -1
    return edge_alpha(distance, min(1.0, 1.5 / radius)) * np.float32(sign * 1.3 * contrast)


def draw_dent(
    distance: FloatArray, radius: float, contrast: float, rng: np.random.Generator
) -> FloatArray:
    """Shading of a smooth hollow lit from a random direction; grey levels."""
    depth = edge_alpha(distance, rng.uniform(0.5, 1.0))
    slope_rows, slope_columns = np.gradient(depth)
    angle = rng.uniform(0, 2 * np.pi)
    shading = slope_rows * np.float32(np.sin(angle)) + slope_columns * np.float32(np.cos(angle))
    return np.asarray(shading * (0.7 * contrast * radius), np.float32)


DRAW = {"stain": draw_stain, "hole": draw_hole, "dent": draw_dent}
