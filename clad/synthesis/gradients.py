"""Poisson equation on a rectangle by sine transform: the solver behind gradient-domain blending."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dstn, idstn

FloatArray = NDArray[np.float32]


@lru_cache(maxsize=512)
def _eigenvalues(size: int) -> FloatArray:
    """Eigenvalues of the second difference with zero ends, in the basis of the sine transform."""
    angles = np.pi * np.arange(1, size + 1) / (size + 1)
    values = (2 * np.cos(angles) - 2).astype(np.float32)
    values.setflags(write=False)
    return values


def solve_poisson(target: FloatArray, right: FloatArray, down: FloatArray) -> FloatArray:
    """Patch with the border of ``target`` whose differences come closest to those wanted.

    Exact solution of the discrete Poisson equation with the border as Dirichlet condition.

    Args:
        target: (h, w, C) float, h and w >= 3; only its outermost pixels are used.
        right: (h, w - 1, C) wanted differences between each pixel and its right neighbour.
        down: (h - 1, w, C) wanted differences between each pixel and the one below.

    Returns:
        (h, w, C) float32.

    Raises:
        ValueError: If the patch has no inner pixel.

    Source: Poisson Image Editing (Pérez et al., SIGGRAPH 2003), equation 7.
    """
    height, width = target.shape[:2]
    if height < 3 or width < 3:
        raise ValueError(f"expected a patch of at least 3 x 3 pixels, got {height} x {width}")
    border = target.astype(np.float32)
    border[1:-1, 1:-1] = 0
    divergence = np.diff(right[1:-1], axis=1) + np.diff(down[:, 1:-1], axis=0)
    divergence[0] -= border[0, 1:-1]
    divergence[-1] -= border[-1, 1:-1]
    divergence[:, 0] -= border[1:-1, 0]
    divergence[:, -1] -= border[1:-1, -1]
    spectrum = dstn(divergence.astype(np.float32), type=1, axes=(0, 1))
    spectrum /= (_eigenvalues(height - 2)[:, None] + _eigenvalues(width - 2)[None])[..., None]
    border[1:-1, 1:-1] = idstn(spectrum, type=1, axes=(0, 1))
    return border
