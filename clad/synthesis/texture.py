"""Foreign textures without a texture data set: the image itself, strongly changed, or patterns."""

from __future__ import annotations

import numpy as np

from clad.synthesis.base import ImageArray
from clad.synthesis.noise import FloatArray, cells_of_size, fractal_noise
from clad.synthesis.pixels import (
    flip,
    is_grey,
    tone_curve,
    turn_matrix,
    warp,
    without_colour,
)

LEVELS = np.arange(256, dtype=np.float32)
CHANGES_PER_TEXTURE = 3


def random_texture(image: ImageArray, source: str, rng: np.random.Generator) -> ImageArray:
    """(H, W, 3) uint8 texture of the image's size; grey if the image is grey.

    Args:
        image: (H, W, 3) uint8.
        source: ``image`` (itself, changed), ``noise``, ``grating`` or ``flat``.
        rng: Source of all randomness.
    """
    if source == "image":
        texture = changed_image(image, rng)
    elif source == "flat":
        texture = np.full_like(image, rng.integers(0, 256, 3, dtype=np.uint8))
    else:
        field = _noise_field(image, rng) if source == "noise" else _grating_field(image, rng)
        texture = _two_colours(image, field, rng)
    if is_grey(image):
        texture = without_colour(texture)
    return texture


def changed_image(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """The image after three of nine strong, cheap changes of tone, channel order and place."""
    for index in rng.permutation(len(CHANGES))[:CHANGES_PER_TEXTURE]:
        image = CHANGES[index](image, rng)
    return image


def _posterise(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    step = 256 / rng.integers(3, 8)
    return tone_curve(image, (LEVELS // step + 0.5) * step)


def _solarise(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    return tone_curve(image, np.where(rng.uniform(32, 160) < LEVELS, 255 - LEVELS, LEVELS))


def _shift_tone(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    return tone_curve(image, LEVELS[:, None] + rng.uniform(-70, 70, 3))


def _stretch(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    middle = float(image[::4, ::4].mean())
    return tone_curve(image, (LEVELS - middle) * rng.uniform(1.5, 4.0) + middle)


def _swap_channels(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    return np.ascontiguousarray(image[..., rng.permutation(3)])


def _rotate(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    centre = (image.shape[0] / 2, image.shape[1] / 2)
    return warp(image, turn_matrix(centre, rng.uniform(-180, 180), rng.uniform(0.7, 1.8)))


def _roll(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    shift = (int(rng.integers(image.shape[0])), int(rng.integers(image.shape[1])))
    return np.roll(image, shift, axis=(0, 1))


def _jigsaw(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Tiles of a 4 x 4 grid in random order; rows and columns left over stay in place."""
    tile_height, tile_width = image.shape[0] // 4, image.shape[1] // 4
    shuffled = image.copy()
    for place, tile in enumerate(rng.permutation(16)):
        to_row, to_column = place // 4 * tile_height, place % 4 * tile_width
        row, column = tile // 4 * tile_height, tile % 4 * tile_width
        shuffled[to_row : to_row + tile_height, to_column : to_column + tile_width] = image[
            row : row + tile_height, column : column + tile_width
        ]
    return shuffled


def _noise_field(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    """Stretched fractal noise in about [0, 1]."""
    shape = image.shape[:2]
    rows, columns = cells_of_size(shape, min(shape) / rng.uniform(4, 40))
    stretch = int(rng.integers(1, 5))
    cells = (max(rows // stretch, 1), columns) if rng.random() < 0.5 else (
        rows, max(columns // stretch, 1))  # fmt: skip
    return fractal_noise(shape, cells, rng, octaves=3, persistence=0.7) + np.float32(0.5)


def _grating_field(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    """A wave of random direction and sharpness in [0, 1]."""
    height, width = image.shape[:2]
    angle, period = rng.uniform(0, np.pi), min(height, width) / rng.uniform(4, 32)
    rows = np.arange(height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    columns = np.arange(width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    wave = np.sin((rows + columns) * np.float32(2 * np.pi / period) + np.float32(rng.uniform(0, 6)))
    return np.clip(wave * np.float32(rng.uniform(0.5, 3.0)) + np.float32(0.5), 0, 1)


def _two_colours(image: ImageArray, field: FloatArray, rng: np.random.Generator) -> ImageArray:
    """A field in [0, 1] as a ramp between two colours, one of them often taken from the image."""
    first = rng.uniform(0, 255, 3)
    if rng.random() < 0.5:
        first = image[int(rng.integers(image.shape[0])), int(rng.integers(image.shape[1]))]
    second = rng.uniform(0, 255, 3)
    ramp = np.linspace(np.asarray(first, np.float64), second, 256)
    index = np.clip(field * 255, 0, 255).astype(np.uint8)
    return tone_curve(np.repeat(index[..., None], 3, axis=2), ramp)


CHANGES = (
    _posterise,
    _solarise,
    _shift_tone,
    _stretch,
    _swap_channels,
    _rotate,
    _roll,
    _jigsaw,
    flip,
)
