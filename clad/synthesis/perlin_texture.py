"""DRAEM-style anomalies: a foreign texture blended in under thresholded Perlin noise."""

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
)
from clad.synthesis.noise import ellipse_distance, perlin_noise
from clad.synthesis.pixels import blend
from clad.synthesis.texture import random_texture

TextureSource = Literal["image", "noise", "grating", "flat"]
SOURCES: tuple[TextureSource, ...] = ("image", "noise", "grating", "flat")
CELL_COUNTS = (1, 2, 4, 8, 16)
"""Lattice cells per side; DRAEM goes on to 32, whose islands are single dots at 256 px."""


SAMPLES = 500
"""Pixels above the threshold that suffice to place it; more would only cost time."""


class PerlinTexture(LocalSynthesizer):
    """Islands of Perlin noise filled with a foreign texture.

    Differs from the paper: no external texture data set; the threshold is chosen to meet a drawn
    area instead of being fixed at 0.5; islands gather around a place instead of covering the frame.

    Args:
        area: Smallest and largest share that is covered of the image, or of its object.
        opacity: Weakest and strongest weight of the texture; the image keeps the rest.
        sources: Where textures come from, each equally likely: image, noise, grating, flat.
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.

    Source: DRAEM (Zavrtanik et al., ICCV 2021, arXiv:2108.07610), section 3.3.
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.002, 0.25),
        opacity: tuple[float, float] = (0.15, 1.0),
        sources: tuple[TextureSource, ...] = SOURCES,
        foreground: ForegroundMode = "auto",
    ) -> None:
        super().__init__(foreground)
        expect_interval("area", area, 1e-4, 0.9)
        expect_interval("opacity", opacity, 0.01, 1.0)
        for source in sources:
            expect_choice("texture source", source, SOURCES)
        if not sources:
            raise ValueError(f"expected at least one texture source, got none; choose of {SOURCES}")
        self.area, self.opacity, self.sources = area, opacity, sources

    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """Texture under a Perlin mask; see ``LocalSynthesizer``."""
        mask = perlin_mask(image.shape[:2], log_uniform(rng, self.area), target, rng)
        texture = random_texture(image, self.sources[int(rng.integers(len(self.sources)))], rng)
        alpha = mask.astype(np.float32) * np.float32(rng.uniform(*self.opacity))
        return blend(image, texture, alpha), mask


def perlin_mask(
    shape: tuple[int, int], area: float, target: MaskArray | None, rng: np.random.Generator
) -> MaskArray:
    """Highest values of Perlin noise near a random place, over about ``area`` of frame or object.

    Args:
        shape: (height, width).
        area: Share of the frame, or of the object, in (0, 1).
        target: Object that the mask stays on, or None.
        rng: Source of all randomness.

    Returns:
        (height, width) bool.
    """
    longest = min(shape) // 2
    rows, columns = (min(int(rng.choice(CELL_COUNTS)), longest) for _ in range(2))
    field = perlin_noise(shape, (rows, columns), rng)
    spread = min(shape) * max(np.sqrt(area), 0.05) * rng.uniform(0.6, 2.5)
    centre = pick_centre(shape, target, rng)
    field -= np.float32(0.3) * ellipse_distance(shape, centre, (spread, spread), 0.0)
    allowed = field.ravel() if target is None else field[target]
    sparse = allowed[:: max(1, int(area * allowed.size) // SAMPLES)]
    mask = field > np.quantile(sparse, 1 - area)
    return mask if target is None else mask & target
