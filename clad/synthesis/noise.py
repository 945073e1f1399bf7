"""Smooth random fields: Perlin noise, its fractal sum, and blobs with rough outlines."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@lru_cache(maxsize=512)
def _lattice_basis(size: int, cells: int) -> tuple[FloatArray, FloatArray]:
    """(size, cells + 1) fade weights of each lattice node, and weights times offset from it."""
    position = np.arange(size) * (cells / size)
    offset = position[:, None] - np.arange(cells + 1)[None, :]
    closeness = np.clip(1 - np.abs(offset), 0, 1)
    fade = closeness**3 * (closeness * (closeness * 6 - 15) + 10)
    slope = fade * offset
    fade, slope = fade.astype(np.float32), slope.astype(np.float32)
    fade.setflags(write=False)
    slope.setflags(write=False)
    return fade, slope


def perlin_noise(
    shape: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator
) -> FloatArray:
    """Gradient noise, zero at every lattice node.

    The value at a point is the sum over its four nodes of fade(y) fade(x) (gradient . offset).
    Fade and offset separate into rows and columns, so the whole field is two products of small
    matrices; nothing is looped.

    Args:
        shape: (height, width) of the field.
        cells: Lattice cells along (height, width), each >= 1.
        rng: Draws the direction of the unit gradient at each node.

    Returns:
        (height, width) float32 in [-0.7072, 0.7072].

    Raises:
        ValueError: If a number of cells is below 1.

    Source: Improving Noise (Perlin, SIGGRAPH 2002) with gradients of any direction.
    """
    if min(cells) < 1:
        raise ValueError(f"expected at least 1 noise cell per axis, got {cells}; use larger cells")
    angles = rng.uniform(0, 2 * np.pi, (cells[0] + 1, cells[1] + 1)).astype(np.float32)
    fade_rows, slope_rows = _lattice_basis(shape[0], cells[0])
    fade_columns, slope_columns = _lattice_basis(shape[1], cells[1])
    along_x = fade_rows @ np.cos(angles) @ slope_columns.T
    along_y = slope_rows @ np.sin(angles) @ fade_columns.T
    return along_x + along_y


def fractal_noise(
    shape: tuple[int, int],
    cells: tuple[int, int],
    rng: np.random.Generator,
    octaves: int = 3,
    persistence: float = 0.5,
) -> FloatArray:
    """Sum of Perlin noises, each twice as fine and ``persistence`` times as strong.

    Octaves finer than two pixels per cell are left out, as they would only alias.

    Returns:
        (height, width) float32 in [-0.7072, 0.7072].
    """
    total = perlin_noise(shape, cells, rng)
    weight, weights = 1.0, 1.0
    for octave in range(1, octaves):
        finer = (cells[0] << octave, cells[1] << octave)
        if finer[0] * 2 > shape[0] or finer[1] * 2 > shape[1]:
            break
        weight *= persistence
        weights += weight
        total += weight * perlin_noise(shape, finer, rng)
    return total / np.float32(weights)


def cells_of_size(shape: tuple[int, int], size_px: float) -> tuple[int, int]:
    """Number of cells along (height, width) so that a cell is about ``size_px`` wide."""
    rows, columns = (int(np.clip(round(side / size_px), 1, side // 2)) for side in shape)
    return rows, columns


def ellipse_distance(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float], angle: float
) -> FloatArray:
    """Distance from ``centre`` in radii: 0 at the centre, 1 on the ellipse.

    Args:
        shape: (height, width).
        centre: (row, column).
        radii: Half axes in pixels, before rotation along (row, column).
        angle: Rotation in radians.

    Returns:
        (height, width) float32, >= 0.
    """
    rows = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    columns = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(centre[1])
    # NumPy float64 scalars would promote the whole field; Python floats do not.
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    first_radius, second_radius = float(radii[0]), float(radii[1])
    first = rows * (cosine / first_radius) - columns * (sine / first_radius)
    second = rows * (sine / second_radius) + columns * (cosine / second_radius)
    return np.sqrt(first * first + second * second)


def blob_distance(
    shape: tuple[int, int],
    centre: tuple[float, float],
    radii: tuple[float, float],
    rng: np.random.Generator,
    roughness: float = 0.5,
) -> FloatArray:
    """Distance field of an ellipse at a random angle whose outline is bent by fractal noise.

    Args:
        shape: (height, width).
        centre: (row, column).
        radii: Half axes in pixels.
        rng: Draws the angle and the noise.
        roughness: 0 keeps the ellipse; about 1 breaks it into islands.

    Returns:
        (height, width) float32; below 1 inside the blob. The centre is always inside.
    """
    distance = ellipse_distance(shape, centre, radii, rng.uniform(0, np.pi))
    if roughness > 0:
        cells = cells_of_size(shape, max(sum(radii) / 2, 4.0))
        bend = fractal_noise(shape, cells, rng)
        bend -= bend[int(centre[0]), int(centre[1])]
        distance += np.float32(roughness) * bend
    return distance
