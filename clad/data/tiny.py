"""Miniature images with something to learn: a smooth texture, and defects that break it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from clad.data.images import ImageArray, MaskArray

TINY_SIZE = 64
_NOISE = 4.0


def normal_texture(rng: np.random.Generator, kind: int = 0) -> ImageArray:
    """(64, 64, 3) uint8: a tilted wave with a little noise, its phase drawn anew each time.

    Args:
        rng: Source of all randomness.
        kind: Which texture; categories of one data set take different ones.
    """
    rows, columns = np.mgrid[:TINY_SIZE, :TINY_SIZE]
    angle = 0.4 + 1.1 * kind
    wave = np.sin(
        (np.cos(angle) * columns + np.sin(angle) * rows) * (2 * np.pi / (16 + 4 * kind))
        + rng.uniform(0, 2 * np.pi)
    )
    colour = np.array([(1.0, 0.9, 0.7), (0.7, 0.9, 1.0), (0.8, 1.0, 0.8)][kind % 3])
    values = (128 + 30 * wave)[:, :, None] * colour
    return _to_uint8(values + rng.normal(0, _NOISE, values.shape))


def defective_texture(
    rng: np.random.Generator, kind: int = 0, is_dark: bool = True
) -> tuple[ImageArray, MaskArray]:
    """A normal texture with one dark or bright ellipse, and the mask of the ellipse."""
    image = normal_texture(rng, kind)
    rows, columns = np.mgrid[:TINY_SIZE, :TINY_SIZE]
    centre = rng.uniform(16, TINY_SIZE - 16, 2)
    radii = rng.uniform(5, 11, 2)
    mask = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1
    image[mask] = _to_uint8((15 if is_dark else 240) + rng.normal(0, _NOISE, (int(mask.sum()), 3)))
    return image, mask


def save(array: ImageArray | MaskArray, path: Path) -> None:
    """Write an image, or a mask as 0 and 255, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = array.astype(np.uint8) * 255 if array.dtype == bool else array
    Image.fromarray(pixels).save(path)


def save_normals(
    folder: Path, num_images: int, rng: np.random.Generator, kind: int = 0, suffix: str = ".png"
) -> None:
    """Write ``000.png`` and so on."""
    for i in range(num_images):
        save(normal_texture(rng, kind), folder / f"{i:03d}{suffix}")


def save_category(
    folder: Path,
    rng: np.random.Generator,
    kind: int = 0,
    num_train: int = 8,
    num_test: int = 3,
    defects: Iterable[str] = ("dark_spot", "bright_spot"),
) -> None:
    """Write one category in MVTec-AD's layout, with ``num_test`` images of each defect."""
    save_normals(folder / "train" / "good", num_train, rng, kind)
    save_normals(folder / "test" / "good", num_test, rng, kind)
    for number, defect in enumerate(defects):
        for i in range(num_test):
            image, mask = defective_texture(rng, kind, is_dark=number % 2 == 0)
            save(image, folder / "test" / defect / f"{i:03d}.png")
            save(mask, folder / "ground_truth" / defect / f"{i:03d}_mask.png")


def _to_uint8(values: np.ndarray) -> ImageArray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
