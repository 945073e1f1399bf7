"""Large faint anomalies: uneven brightness, changed contrast, streaks, and local blur."""

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
from clad.synthesis.noise import FloatArray, blob_distance, fractal_noise
from clad.synthesis.pixels import add_levels, blend, mean_inside, smooth, tone_curve

Kind = Literal["uneven", "contrast", "streaks", "blur"]
KINDS: tuple[Kind, ...] = ("uneven", "contrast", "streaks", "blur")
HALF_PLANE = 0.4
"""Share of regions that end at a straight border instead of a rounded outline."""


class Shading(LocalSynthesizer):
    """A large region whose light or sharpness differs from the rest.

    Args:
        kinds: Kinds to draw from, each equally likely: uneven (lighter or darker), contrast
            (flatter or harsher), streaks (parallel lines, as from grinding), blur (out of focus).
        size: Smallest and largest diameter as shares of the shorter side.
        contrast: Weakest and strongest change in grey levels.
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...] = KINDS,
        size: tuple[float, float] = (0.15, 0.6),
        contrast: tuple[float, float] = (8.0, 45.0),
        foreground: ForegroundMode = "auto",
    ) -> None:
        super().__init__(foreground)
        if not kinds:
            raise ValueError(f"expected at least one kind, got none; choose of {', '.join(KINDS)}")
        for kind in kinds:
            expect_choice("kind", kind, KINDS)
        expect_interval("size", size, 0.02, 1.5)
        expect_interval("contrast", contrast, 5, 255)
        self.kinds, self.size, self.contrast = kinds, size, contrast

    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """A region under other light; see ``LocalSynthesizer``."""
        shape = image.shape[:2]
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        alpha = region_alpha(shape, log_uniform(rng, self.size) * min(shape), target, rng)
        strength = log_uniform(rng, self.contrast)
        if kind == "uneven":
            drift = 1 + fractal_noise(shape, (3, 3), rng, octaves=2) * np.float32(0.8)
            changed = add_levels(image, alpha * drift * np.float32(strength * random_sign(rng)))
        elif kind == "streaks":
            changed = add_levels(image, alpha * streaks(shape, rng) * np.float32(1.5 * strength))
        elif kind == "contrast":
            middle = mean_inside(image, alpha > 0)
            gain = rng.uniform(0.2, 0.7) if rng.random() < 0.6 else rng.uniform(1.4, 2.2)
            layer = tone_curve(image, (np.arange(256)[:, None] - middle) * gain + middle)
            changed = blend(image, layer, alpha)
        else:
            width = 2 * int(min(shape) * rng.uniform(0.01, 0.03)) + 3
            layer = smooth(image, width, passes=2)
            changed = blend(image, layer, alpha)
        return changed, alpha > 0


def region_alpha(
    shape: tuple[int, int], diameter: float, target: MaskArray | None, rng: np.random.Generator
) -> FloatArray:
    """(H, W) weight in [0, 1] of a large region, soft or sharp, rounded or cut straight."""
    centre = pick_centre(shape, target, rng)
    aspect = np.sqrt(log_uniform(rng, (0.4, 2.5)))
    radii = (diameter / 2 * aspect, diameter / 2 / aspect)
    distance = blob_distance(shape, centre, radii, rng, rng.uniform(0.1, 0.6))
    softness = np.float32(log_uniform(rng, (0.03, 0.8)))
    alpha = np.clip((1 - distance) / softness, 0, 1)
    if rng.random() < HALF_PLANE:
        angle = rng.uniform(0, 2 * np.pi)
        rows = (np.arange(shape[0], dtype=np.float32) - centre[0])[:, None]
        columns = (np.arange(shape[1], dtype=np.float32) - centre[1])[None, :]
        along = rows * np.float32(np.sin(angle)) + columns * np.float32(np.cos(angle))
        alpha = alpha * np.clip(along / np.float32(3) + np.float32(0.5), 0, 1)
    return alpha


def streaks(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """(H, W) parallel lines along an axis in about [-1, 1], fine across and long along it."""
    fine, long = int(rng.integers(16, 64)), int(rng.integers(1, 4))
    across = min(fine, min(shape) // 2)
    cells = (across, long) if rng.random() < 0.5 else (long, across)
    return fractal_noise(shape, cells, rng, octaves=2, persistence=0.8) * np.float32(2)
