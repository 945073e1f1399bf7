"""What lies between the networks of MTCNN: pyramid, windows, offsets, patches.

Boxes are (N, 4) float64 of (top, left, bottom, right), the last two exclusive. The networks were
trained on MATLAB's boxes (counted from 1, last pixel included); the constants below say the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from clad.faces.boxes import Boxes

WINDOW_PX, STRIDE_PX = 12, 2
_MIDDLE, _HALF_RANGE = 127.5, 128.0


class Windows(NamedTuple):
    """Windows of P-Net that may hold a face.

    Args:
        boxes: (N, 4).
        scores: (N,) probabilities.
        offsets: (N, 4) of top, left, bottom, right, in shares of the box.
    """

    boxes: Boxes
    scores: NDArray[np.float64]
    offsets: NDArray[np.float64]


def pyramid(height: int, width: int, smallest_px: float, factor: float) -> list[float]:
    """Scales at which a window of 12 pixels covers faces from ``smallest_px`` up to the image.

    Args:
        height: Of the image.
        width: Likewise.
        smallest_px: Side of the smallest face.
        factor: Ratio of a scale to the one before, below 1.
    """
    scales, scale = [], WINDOW_PX / smallest_px
    while min(height, width) * scale >= WINDOW_PX:
        scales.append(scale)
        scale *= factor
    return scales


def at_scale(pixels: Tensor, scale: float) -> Tensor:
    """(1, 3, h, w) in [-1, 1] of (1, 3, H, W) in [0, 255], by means of areas."""
    height, width = pixels.shape[-2:]
    return resized(pixels, int(height * scale + 1), int(width * scale + 1))


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """(1, 3, height, width) in [-1, 1] of (1, 3, H, W) in [0, 255], by means of areas."""
    return (functional.interpolate(pixels, (height, width), mode="area") - _MIDDLE) / _HALF_RANGE


def windows(probability: Tensor, offsets: Tensor, scale: float, least: float) -> Windows:
    """Windows whose probability is at least ``least``, row by row.

    Args:
        probability: (h, w), of P-Net.
        offsets: (4, h, w) of left, top, right, bottom.
        scale: At which the image was looked at.
        least: Probability.
    """
    rows, columns = torch.nonzero(probability >= least, as_tuple=True)
    starts = torch.stack((rows, columns), dim=1).double().numpy() * STRIDE_PX
    first = np.floor((starts + 1) / scale) - 1
    last = np.floor((starts + WINDOW_PX) / scale)
    picked = offsets[:, rows, columns].double().numpy().T
    return Windows(
        np.concatenate((first, last), axis=1),
        probability[rows, columns].double().numpy(),
        rows_first(picked),
    )


def rows_first(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 4) of top, left, bottom, right from left, top, right, bottom."""
    return values[:, [1, 0, 3, 2]]


def moved(boxes: Boxes, offsets: NDArray[np.float64], shorter_px: float = 0.0) -> Boxes:
    """Boxes with their edges moved by shares of their sides.

    Args:
        boxes: (N, 4).
        offsets: (N, 4) of top, left, bottom, right.
        shorter_px: What is taken from the sides first; P-Net was trained with 1.
    """
    sides = boxes[:, 2:] - boxes[:, :2] - shorter_px
    return boxes + offsets * np.tile(sides, 2)


def squared(boxes: Boxes) -> Boxes:
    """Squares of the longer side about the same centres."""
    sides = boxes[:, 2:] - boxes[:, :2]
    middles, longer = (boxes[:, 2:] + boxes[:, :2]) / 2, sides.max(axis=1, keepdims=True)
    return np.concatenate((middles - longer / 2, middles + longer / 2), axis=1)


def patches(pixels: Tensor, boxes: Boxes, side: int) -> tuple[Tensor, NDArray[np.int64]]:
    """What the next network looks at, and which boxes have any pixel in the image.

    A box that reaches beyond the image is cut there, and what is left is stretched.

    Args:
        pixels: (1, 3, H, W) in [0, 255].
        boxes: (N, 4).
        side: Of the patches.

    Returns:
        (M, 3, side, side) float32 in [-1, 1], and M positions.
    """
    height, width = pixels.shape[-2:]
    starts = np.maximum(np.trunc(boxes[:, :2] + 1).astype(int) - 1, 0)
    stops = np.minimum(np.trunc(boxes[:, 2:]).astype(int), (height, width))
    held = np.flatnonzero((stops > starts).all(axis=1))
    made = [
        resized(pixels[..., top:bottom, left:right], side, side)
        for (top, left), (bottom, right) in zip(
            starts[held].tolist(), stops[held].tolist(), strict=True
        )
    ]
    return torch.cat(made) if made else pixels.new_zeros((0, 3, side, side)), held
