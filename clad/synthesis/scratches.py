"""Scratches and cracks: thin bright or dark curves, and dark lines that branch."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

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
from clad.synthesis.noise import FloatArray
from clad.synthesis.pixels import add_levels

Kind = Literal["scratch", "crack", "any"]
SUBPIXEL_BITS = 4
POINTS_PER_LINE = 24
BRANCHING = 0.12
"""Chance per point of a crack that a branch leaves it."""
MAX_DEPTH = 2
FINE_SCALE = 3
"""Enlargement while drawing, so that widths are true to a third of a pixel."""


class Stroke(NamedTuple):
    """A polyline of N segments: (N + 1, 2) points (row, column), widths in px, strengths."""

    path: NDArray[np.float64]
    widths: NDArray[np.float64]
    strengths: NDArray[np.float64]


class Scratches(LocalSynthesizer):
    """One or more thin lines that curve like a scratch or branch like a crack.

    Args:
        kind: ``scratch`` (smooth, bright or dark, with a shadow at times), ``crack`` (jagged, dark,
            branching) or ``any`` of both.
        count: Fewest and most lines.
        length: Shortest and longest line as shares of the shorter side.
        width: Thinnest and widest line as shares of the shorter side; at least one pixel.
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
        strokes: list[Stroke] = []
        start = pick_centre(shape, target, rng)
        for index in range(1 if is_crack else int(rng.integers(self.count[0], self.count[1] + 1))):
            if index and rng.random() < 0.5:
                start = pick_centre(shape, target, rng)
            length_px = log_uniform(rng, self.length) * min(shape)
            width_px = max(log_uniform(rng, self.width) * min(shape), 1.0)
            trace = crack if is_crack else curve
            strokes += trace(start, length_px, width_px, rng)
        strength = render(shape, strokes)
        contrast = log_uniform(rng, self.contrast) * (-1 if is_crack else random_sign(rng))
        levels = strength * np.float32(contrast)
        if not is_crack and rng.random() < 0.4:
            levels -= np.float32(0.5) * np.roll(levels, (1, random_sign(rng)), axis=(0, 1))
        region = levels != 0
        return add_levels(image, levels), region


def random_path(
    start: tuple[float, float],
    length_px: float,
    heading: float,
    bend: float,
    jag: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
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


def render(shape: tuple[int, int], strokes: list[Stroke]) -> FloatArray:
    """(H, W) weight in [0, 1] of all strokes, drawn enlarged and then averaged down.

    OpenCV's own smooth lines come out up to 2.5 pixels too wide; its hard lines have the next odd
    width above their thickness.
    """
    canvas = np.zeros((shape[0] * FINE_SCALE, shape[1] * FINE_SCALE), np.uint8)
    for stroke in strokes:
        places = (stroke.path[:, ::-1] + 0.5) * FINE_SCALE - 0.5
        points = np.rint(places * (1 << SUBPIXEL_BITS)).astype(np.int32).tolist()
        thicknesses = np.maximum(2 * np.rint((stroke.widths * FINE_SCALE - 1) / 2), 1).astype(int)
        tones = (255 * stroke.strengths).astype(int)
        for ends, thickness, tone in zip(pairwise(points), thicknesses, tones, strict=True):
            cv2.line(canvas, *ends, int(tone), int(thickness), cv2.LINE_8, SUBPIXEL_BITS)
    fine = cv2.resize(canvas, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return fine.astype(np.float32) / np.float32(255)


def curve(
    start: tuple[float, float], length_px: float, width_px: float, rng: np.random.Generator
) -> list[Stroke]:
    """A smooth scratch with its middle at ``start`` that thins and fades towards its ends."""
    heading = rng.uniform(0, 2 * np.pi)
    path = random_path(start, length_px, heading, rng.normal(0, 0.7), 0.03, rng)
    path += start - path[len(path) // 2]
    profile = np.sin(np.linspace(0.25, np.pi - 0.25, POINTS_PER_LINE)) ** 0.5
    return [Stroke(path, width_px * profile, profile * rng.uniform(0.6, 1.0, POINTS_PER_LINE))]


def crack(
    start: tuple[float, float],
    length_px: float,
    width_px: float,
    rng: np.random.Generator,
    depth: int = 0,
    heading: float | None = None,
) -> list[Stroke]:
    """A jagged line from ``start`` with up to two generations of shorter, thinner branches."""
    heading = rng.uniform(0, 2 * np.pi) if heading is None else heading
    path = random_path(start, length_px, heading, rng.normal(0, 0.4), 0.5, rng)
    widths = np.linspace(width_px, 0.5, POINTS_PER_LINE) * rng.uniform(0.6, 1.3, POINTS_PER_LINE)
    strokes = [Stroke(path, widths, np.linspace(1, 0.6, POINTS_PER_LINE))]
    if depth < MAX_DEPTH:
        for row, column in path[3:-3][rng.random(POINTS_PER_LINE - 5) < BRANCHING]:
            turn = heading + random_sign(rng) * rng.uniform(0.4, 1.1)
            share = rng.uniform(0.2, 0.5)
            branch = (float(row), float(column)), length_px * share, width_px * 0.7
            strokes += crack(*branch, rng, depth + 1, turn)
    return strokes
