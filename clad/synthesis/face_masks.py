"""Blending weights of forged faces: erosion by two blurs, elastic and grid warps, feathers.

Weights are (H, W) float32 in [0, 1]: 0 keeps the target, 1 takes the source.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from clad.synthesis.base import MaskArray
from clad.synthesis.face_warp import piecewise_affine

Weights = NDArray[np.float32]

PLATEAU = 1 - 1e-4
"""What counts as 1 after a blur in float32, which sums kernels to 1 within about 1e-7."""
REFERENCE_PX = 256
"""Side that sizes in pixels are meant for; they grow and shrink with the image."""


def boundary_map(weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """4 M (1 - M): 1 where source and target meet evenly, 0 where only one of them is seen.

    Args:
        weights: (...) float blending weights in [0, 1].

    Raises:
        ValueError: If a weight is outside [0, 1].

    Source: Face X-ray (Li et al., CVPR 2020, arXiv:1912.13458), equation 2.
    """
    low, high = float(np.min(weights, initial=0)), float(np.max(weights, initial=0))
    if not (low >= 0 and high <= 1):
        raise ValueError(f"expected blending weights in [0, 1], got [{low:g}, {high:g}]")
    return 4 * weights * (1 - weights)


def blurred_twice(
    region: Weights,
    work_size: tuple[int, int],
    kernels: tuple[int, int],
    sigma: float,
) -> Weights:
    """Weights that fall off around an eroded region.

    The region is resized to ``work_size``, blurred, divided by its maximum, and every value below 1
    becomes 0: that erodes it by half a kernel. It is blurred again, divided by its maximum, and
    resized back.

    Args:
        region: (H, W) float32 in [0, 1].
        work_size: (height, width) at which the kernels apply.
        kernels: Sides of both Gaussian kernels in pixels, odd. The first has the standard deviation
            that OpenCV takes for its side, 0.3 ((k - 1) / 2 - 1) + 0.8.
        sigma: Standard deviation of the second in pixels.

    Returns:
        (H, W) float32 in [0, 1]; 0 everywhere if the region is empty.

    Source: Self-blended images (Shiohara and Yamasaki, CVPR 2022, arXiv:2204.08376), section 3.2,
    and the authors' code (mapooon/SelfBlendedImages, src/utils/blend.py).
    """
    height, width = region.shape
    work = cv2.resize(region, (work_size[1], work_size[0]), interpolation=cv2.INTER_LINEAR)
    work = cv2.GaussianBlur(work, (kernels[0], kernels[0]), 0)
    if work.max() <= 0:
        return np.zeros_like(region)
    core = np.where(work / work.max() < PLATEAU, np.float32(0), work / work.max())
    soft = cv2.GaussianBlur(core, (kernels[1], kernels[1]), sigma)
    back = cv2.resize(soft / soft.max(), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(back, 0, 1), np.float32)


def elastic_offsets(
    size: tuple[int, int], alpha: float, sigma: float, rng: np.random.Generator
) -> tuple[Weights, Weights]:
    """Smooth random offsets along rows and columns, each (H, W) float32 in pixels.

    Uniform noise in [-1, 1], smoothed by a Gaussian of ``sigma`` pixels, times ``alpha``.

    Source: Simard et al., ICDAR 2003, section 2.
    """
    noise = rng.random((*size, 2), dtype=np.float32) * 2 - 1
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) * alpha
    return smooth[..., 0], smooth[..., 1]


def moved(
    region: MaskArray, matrix: NDArray[np.float64], offsets: tuple[Weights, Weights]
) -> Weights:
    """The region after an affine, then an elastic warp: (H, W) float32 in [0, 1].

    Args:
        region: (H, W) bool.
        matrix: 2 x 3 on (column, row), takes places in the region to places in the result.
        offsets: Along rows and columns in pixels: where, relative to itself, each pixel is read.
    """
    back = cv2.invertAffineTransform(matrix).astype(np.float32)
    grid = np.indices(region.shape, dtype=np.float32)
    rows, columns = grid[0] + offsets[0], grid[1] + offsets[1]
    return np.asarray(
        cv2.remap(
            region.astype(np.float32),
            back[0, 0] * columns + back[0, 1] * rows + back[0, 2],
            back[1, 0] * columns + back[1, 1] * rows + back[1, 2],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        ),
        np.float32,
    )


def grid_warped(
    region: MaskArray, strength: float, rng: np.random.Generator, cells: int = 3
) -> MaskArray:
    """The region after each node of a grid moved at random, triangles between them stretched.

    Args:
        region: (H, W) bool.
        strength: Standard deviation of a node's move, as a share of height and width.
        rng: Source of all randomness.
        cells: Cells of the grid along each side.
    """
    height, width = region.shape
    shares = np.linspace(0, 1, cells + 1)
    nodes = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2)
    reach = np.array([width - 1, height - 1], np.float64)
    goals = np.clip(nodes + rng.normal(0, strength, nodes.shape), 0, 1)
    back = piecewise_affine(
        (goals * reach).astype(np.float32), (nodes * reach).astype(np.float32), region.shape
    )
    if back is None:
        return np.zeros_like(region)
    columns, rows, is_known = back
    warped = cv2.remap(region.astype(np.float32), columns, rows, cv2.INTER_LINEAR)
    return np.asarray((warped >= 0.5) & is_known)


def eroded(region: MaskArray, kernel_px: int) -> MaskArray:
    """Without what lies within half a square kernel of its edge; sides in pixels of the image."""
    return cv2.erode(region.astype(np.uint8), np.ones((kernel_px, kernel_px))).astype(bool)


def dilated(region: MaskArray, kernel_px: int) -> MaskArray:
    """With what lies within half a square kernel of it; sides in pixels of the image."""
    return cv2.dilate(region.astype(np.uint8), np.ones((kernel_px, kernel_px))).astype(bool)


def feathered(region: MaskArray, share: float) -> Weights:
    """Weights that rise from the region's edge: 1 from ``share`` of its longer side inwards.

    Args:
        region: (H, W) bool.
        share: Width of the slope, >= 0; 0 gives the region itself.

    Source: blending of Face X-ray's authors (AlgoHunt/Face-Xray, bi_online_generation.py, there
    with the distance to the convex hull; here to the nearest pixel outside).
    """
    _, _, width, height = cv2.boundingRect(region.astype(np.uint8))
    slope_px = share * max(width, height)
    if slope_px <= 1:
        return region.astype(np.float32)
    if region.all():
        return np.ones(region.shape, np.float32)
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.minimum(depth / slope_px, 1), np.float32)


def scaled_kernel(kernel_px: int, size: tuple[int, int]) -> int:
    """An odd side of at least 1 for a kernel meant for ``REFERENCE_PX``."""
    half = (kernel_px - 1) / 2 * min(size) / REFERENCE_PX
    return 2 * round(half) + 1
