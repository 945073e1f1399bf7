"""Miniatures of face data: textures in the place of faces, landmarks of a plain face."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clad.data.tiny import TINY_SIZE, defective_texture, normal_texture, save
from clad.faces.index import Points

_KIND = 2


def save_clip(
    folder: Path,
    rng: np.random.Generator,
    num_frames: int = 2,
    is_fake: bool = False,
    mask_folder: Path | None = None,
) -> None:
    """Write ``000.png`` and so on, and masks of fakes under the same names."""
    for i in range(num_frames):
        name = f"{i:03d}.png"
        if not is_fake:
            save(normal_texture(rng, _KIND), folder / name)
            continue
        image, mask = defective_texture(rng, _KIND)
        save(image, folder / name)
        if mask_folder is not None:
            save(mask, mask_folder / name)


def plain_landmarks(rng: np.random.Generator) -> Points:
    """(68, 2) float32 x, y of a face seen from the front in a 64-pixel image, a little jittered.

    In the order of the 68-point scheme: jaw 17, brows 5 + 5, bridge 4, nostrils 5, eyes 6 + 6,
    mouth 12 outside and 8 inside.
    """
    parts = [
        _arc((32, 26), (22, 32), 180, 0, 17),
        _arc((20, 24), (8, 6), 200, 340, 5),
        _arc((44, 24), (8, 6), 200, 340, 5),
        np.stack([np.full(4, 32.0), np.linspace(25, 37, 4)], axis=1),
        _arc((32, 38), (6, 3), 180, 0, 5),
        _arc((21, 26), (5, 2.5), 180, 480, 6),
        _arc((43, 26), (5, 2.5), 180, 480, 6),
        _arc((32, 47), (10, 4.5), 180, 510, 12),
        _arc((32, 47), (7, 1.8), 180, 495, 8),
    ]
    shift, jitter = rng.uniform(-2, 2, 2), rng.normal(0, 0.3, (68, 2))
    points = np.concatenate(parts) + shift + jitter
    return np.asarray(np.clip(points, 0, TINY_SIZE - 1), dtype=np.float32)


def _arc(
    centre: tuple[float, float], radii: tuple[float, float], start: float, end: float, number: int
) -> np.ndarray:
    """Points on an ellipse; 0 degrees is right, 90 down, 180 left, 270 up."""
    angles = np.deg2rad(np.linspace(start, end, number))
    x = centre[0] + radii[0] * np.cos(angles)
    y = centre[1] + radii[1] * np.sin(angles)
    return np.stack([x, y], axis=1)
