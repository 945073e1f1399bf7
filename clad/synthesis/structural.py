"""Structural anomalies: parts that are shifted, turned, mirrored, swapped, missing or bent."""

from __future__ import annotations

from typing import Literal

import numpy as np

from clad.checks import expect_choice
from clad.synthesis.base import ImageArray, MaskArray
from clad.synthesis.foreground import ForegroundMode
from clad.synthesis.gradients import solve_poisson
from clad.synthesis.local import LocalSynthesizer, expect_interval, log_uniform, pick_centre
from clad.synthesis.noise import blob_distance, ellipse_distance
from clad.synthesis.pixels import sample_at, warp

Kind = Literal["shift", "turn", "mirror", "swap", "remove", "bend"]
KINDS: tuple[Kind, ...] = ("shift", "turn", "mirror", "swap", "remove", "bend")


class Structural(LocalSynthesizer):
    """A region whose content is where, or how, it should not be.

    Args:
        kinds: Kinds to draw from, each equally likely: shift, turn, mirror, swap (two regions),
            remove (filled in smoothly from its border), bend (smooth deformation).
        size: Smallest and largest diameter as shares of the shorter side.
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...] = KINDS,
        size: tuple[float, float] = (0.08, 0.45),
        foreground: ForegroundMode = "auto",
    ) -> None:
        super().__init__(foreground)
        if not kinds:
            raise ValueError(f"expected at least one kind, got none; choose of {', '.join(KINDS)}")
        for kind in kinds:
            expect_choice("kind", kind, KINDS)
        expect_interval("size", size, 0.03, 0.9)
        self.kinds, self.size = kinds, size

    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """A displaced part; see ``LocalSynthesizer``."""
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        centre = pick_centre(image.shape, target, rng)
        radius = max(log_uniform(rng, self.size) * min(image.shape[:2]) / 2, 3.0)
        if kind == "bend":
            return bend(image, centre, radius * 1.5, rng)
        if kind == "remove":
            return remove(image, centre, radius, rng)
        if kind == "swap":
            return swap(image, centre, radius, pick_centre(image.shape, target, rng), rng)
        region = _region(image, centre, radius, rng)
        return _moved(image, kind, centre, radius, rng), region


def _region(
    image: ImageArray, centre: tuple[int, int], radius: float, rng: np.random.Generator
) -> MaskArray:
    aspect = np.sqrt(log_uniform(rng, (0.5, 2.0)))
    radii = (radius * aspect, radius / aspect)
    return blob_distance(image.shape[:2], centre, radii, rng, rng.uniform(0, 0.4)) < 1


def _moved(
    image: ImageArray, kind: str, centre: tuple[int, int], radius: float, rng: np.random.Generator
) -> ImageArray:
    """The image shifted, or turned or mirrored about ``centre``; mirrored beyond the frame."""
    row, column = centre
    if kind == "mirror":
        flips = ((1, -1), (-1, 1), (-1, -1))
        down, right = flips[int(rng.integers(3))]
        linear = np.diag([float(right), float(down)])
    elif kind == "turn":
        angle = rng.uniform(np.pi / 9, np.pi) * (1 if rng.random() < 0.5 else -1)
        linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    else:
        linear = np.eye(2)
    middle = np.array([column, row], np.float64)
    shift = middle - linear @ middle
    if kind == "shift":
        angle, step = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.3, 1.5)
        shift = shift + step * np.array([np.cos(angle), np.sin(angle)])
    matrix = np.concatenate([linear, shift[:, None]], axis=1)
    return warp(image, matrix)


def swap(
    image: ImageArray,
    first: tuple[int, int],
    radius: float,
    second: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[ImageArray, MaskArray]:
    """Two windows of one size exchanged, and both windows as the region."""
    shape = image.shape[:2]
    aspect = np.sqrt(log_uniform(rng, (0.5, 2.0)))
    sides = [
        int(np.clip(2 * length, 4, side // 2))
        for length, side in zip((radius * aspect, radius / aspect), shape, strict=True)
    ]
    windows = []
    for centre in (first, second):
        corner = [
            int(np.clip(middle - length // 2, 0, side - length))
            for middle, length, side in zip(centre, sides, shape, strict=True)
        ]
        windows.append(np.s_[corner[0] : corner[0] + sides[0], corner[1] : corner[1] + sides[1]])
    changed, region = image.copy(), np.zeros(shape, bool)
    changed[windows[0]], changed[windows[1]] = image[windows[1]], image[windows[0]]
    region[windows[0]] = region[windows[1]] = True
    return changed, region


def remove(
    image: ImageArray, centre: tuple[int, int], radius: float, rng: np.random.Generator
) -> tuple[ImageArray, MaskArray]:
    """A window filled in from its border, as if the part were missing, with the image's grain."""
    bounds = []
    for middle, side in zip(centre, image.shape[:2], strict=True):
        half = radius * np.sqrt(log_uniform(rng, (0.5, 2.0)))
        low = int(np.clip(middle - half, 0, side - 5))
        bounds.append((low, int(np.clip(middle + half, low + 5, side))))
    window = np.s_[bounds[0][0] : bounds[0][1], bounds[1][0] : bounds[1][1]]
    patch = image[window].astype(np.float32)
    flat = solve_poisson(patch, np.zeros_like(patch[:, 1:]), np.zeros_like(patch[1:]))
    flat += rng.normal(0, 2, flat.shape[:2]).astype(np.float32)[..., None]
    changed, region = image.copy(), np.zeros(image.shape[:2], bool)
    changed[window] = np.clip(np.rint(flat), 0, 255).astype(np.uint8)
    region[window] = True
    return changed, region


def bend(
    image: ImageArray, centre: tuple[int, int], radius: float, rng: np.random.Generator
) -> tuple[ImageArray, MaskArray]:
    """The image pushed sideways around ``centre``, fading to nothing at ``radius``."""
    distance = ellipse_distance(image.shape[:2], centre, (radius, radius), 0.0)
    fall = np.clip(1 - distance * distance, 0, 1) ** 2
    angle, push = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.2, 0.6)
    rows = np.arange(image.shape[0], dtype=np.float32)[:, None]
    columns = np.arange(image.shape[1], dtype=np.float32)[None, :]
    from_rows = rows - fall * np.float32(push * np.sin(angle))
    from_columns = columns - fall * np.float32(push * np.cos(angle))
    return sample_at(image, from_rows, from_columns), distance < 1
