"""Scratches and cracks: thin bright or dark curves, and dark lines that branch."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import cv2
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
from clad.synthesis.pixels import add_levels

Kind = Literal["scratch", "crack", "any"]
SUBPIXEL_BITS = 4
POINTS_PER_LINE = 24
BRANCHING = 0.12
"""Chance per point of a crack that a branch leaves it."""
REGION_ALPHA = 0.04


class Scratches(LocalSynthesizer):
    """One or more thin lines that curve like a scratch or branch like a crack.

    Args:
        kind: ``scratch`` (smooth, bright or dark, with a shadow at times), ``crack`` (jagged, dark,
            branching) or ``any`` of both.
        count: Fewest and most lines.
        length: Shortest and longest line as shares of the shorter side.
        width: Thinnest and widest line as shares of the shorter side; never below one pixel.
        contrast: Weakest and strongest change at the line's middle, in grey levels.
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.
    """

    def __init__(
        self,
        kind: Kind = "any",
        count: tuple[int, int] = (1, 3),
        length: tuple[float, float] = (0.08, 0.9),
        width: tuple[float, float] = (0.004, 0.02),
        contrast: tuple[float, float] = (18.0, 110.0),
        foreground: ForegroundMode = "auto",
    ) -> None:
        super().__init__(foreground)
        expect_choice("kind", kind, ("scratch", "crack", "any"))
        expect_interval("count", count, 1, 50)
        expect_interval("length", length, 0.01, 2.0)
        expect_interval("width", width, 0.001, 0.2)
        expect_interval("contrast", contrast, 5, 255)
        self.kind, self.count = kind, count
        self.length, self.width, self.contrast = length, width, contrast

    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """Lines drawn over the image; see ``LocalSynthesizer``."""
        shape = image.shape[:2]
        is_crack = self.kind == "crack" or (self.kind == "any" and rng.random() < 0.4)
        alpha = np.zeros(shape, np.uint8)
        start = pick_centre(shape, target, rng)
        for index in range(1 if is_crack else int(rng.integers(self.count[0], self.count[1] + 1))):
            if index and rng.random() < 0.5:
                start = pick_centre(shape, target, rng)
            length_px = log_uniform(rng, self.length) * min(shape)
            width_px = max(log_uniform(rng, self.width) * min(shape), 1.0)
            if is_crack:
                draw_crack(alpha, start, length_px, width_px, rng)
            else:
                draw_curve(alpha, start, length_px, width_px, rng)
        strength = cv2.GaussianBlur(alpha, (3, 3), 0.5).astype(np.float32) / np.float32(255)
        contrast = log_uniform(rng, self.contrast) * (-1 if is_crack else random_sign(rng))
        levels = strength * np.float32(contrast)
        if not is_crack and rng.random() < 0.4:
            levels -= np.float32(0.5) * np.roll(levels, (1, random_sign(rng)), axis=(0, 1))
        region = cv2.dilate(alpha, np.ones((5, 5), np.uint8)) > REGION_ALPHA * 255
        return add_levels(image, levels), region


def random_path(
    start: tuple[float, float], length_px: float, heading: float, bend: float, jag: float,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """(N, 2) float (row, column) of a walk from ``start`` whose heading drifts.

    Args:
        start: (row, column).
        length_px: Length along the walk.
        heading: First direction in radians.
        bend: Total turn from first to last step in radians.
        jag: Standard deviation of each step's own turn in radians.
        rng: Source of all randomness.
    """
    headings = heading + np.linspace(0, bend, POINTS_PER_LINE) + rng.normal(0, jag, POINTS_PER_LINE)
    steps = np.stack([np.sin(headings), np.cos(headings)], axis=1) * (length_px / POINTS_PER_LINE)
    return np.concatenate([[start], start + np.cumsum(steps, axis=0)])


def draw_path(
    alpha: np.ndarray, path: np.ndarray, widths: np.ndarray, strengths: np.ndarray
) -> None:
    """Draw a polyline onto ``alpha`` (uint8) with a width in pixels and a strength per segment."""
    points = np.rint(path[:, ::-1] * (1 << SUBPIXEL_BITS)).astype(np.int32).tolist()
    for index, (first, second) in enumerate(pairwise(points)):
        thickness = max(1, round(float(widths[index])))
        cv2.line(
            alpha, first, second, int(255 * strengths[index]), thickness, cv2.LINE_AA, SUBPIXEL_BITS
        )


def draw_curve(
    alpha: np.ndarray,
    start: tuple[int, int],
    length_px: float,
    width_px: float,
    rng: np.random.Generator,
) -> None:
    """Draw a smooth scratch through ``start`` that thins and fades towards its ends."""
    heading = rng.uniform(0, 2 * np.pi)
    path = random_path(start, length_px, heading, rng.normal(0, 0.7), 0.03, rng)
    path += start - path[len(path) // 2]
    profile = np.sin(np.linspace(0.25, np.pi - 0.25, POINTS_PER_LINE)) ** 0.5
    strengths = profile * rng.uniform(0.6, 1.0, POINTS_PER_LINE)
    draw_path(alpha, path, width_px * profile, strengths)


def draw_crack(
    alpha: np.ndarray,
    start: tuple[int, int],
    length_px: float,
    width_px: float,
    rng: np.random.Generator,
    depth: int = 0,
    heading: float | None = None,
) -> None:
    """Draw a jagged line from ``start`` with up to two generations of thinner branches."""
    heading = rng.uniform(0, 2 * np.pi) if heading is None else heading
    path = random_path(start, length_px, heading, rng.normal(0, 0.4), 0.5, rng)
    widths = np.linspace(width_px, 1, POINTS_PER_LINE) * rng.uniform(0.6, 1.3, POINTS_PER_LINE)
    if depth < 2:
        for point in path[3:-3][rng.random(POINTS_PER_LINE - 5) < BRANCHING]:
            turn = heading + random_sign(rng) * rng.uniform(0.4, 1.1)
            share = rng.uniform(0.2, 0.5)
            draw_crack(alpha, tuple(point), length_px * share, width_px * 0.7, rng, depth + 1, turn)
    draw_path(alpha, path, widths, np.linspace(1, 0.6, POINTS_PER_LINE))
