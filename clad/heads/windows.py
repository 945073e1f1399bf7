"""Scores of WinCLIP's windows -> one value per patch; shared by its heads.

Letters in shapes: B batch, N windows, h w patches.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clad.alignment import anomaly_probability
from clad.checks import expect_shape
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures

_SMALLEST_SCORE = 1e-12
"""What a score of zero counts as: its inverse would be infinite."""


def expect_windows(tower: Tower) -> None:
    """Refuse a tower that gives no windows.

    Raises:
        ValueError: With the setting that it takes.
    """
    if not tower.window_sides:
        raise ValueError(
            f"expected a tower that gives window embeddings, got {type(tower).__name__} without "
            "them; set model.tower.init_args.window_sides to [2, 3] on an open_clip transformer"
        )


def harmonic_mean(values: Tensor) -> Tensor:
    """Harmonic mean over the first dimension.

    Args:
        values: (K, ...) float, >= 0.
    """
    return len(values) / (1 / values.clamp(min=_SMALLEST_SCORE)).sum(0)


def window_map(scores: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """(B, h, w) harmonic mean, patch by patch, over the windows that cover it.

    Args:
        scores: (B, N) float, >= 0, of the windows at stride 1, row by row.
        grid: (h, w) in patches.
        side: Side of the windows in patches.

    Raises:
        ValueError: If N is not (h - side + 1) (w - side + 1).

    Source: WinCLIP (Jeong et al., CVPR 2023, arXiv:2303.14814), harmonic aggregation of
    windows.
    """
    height, width = grid
    expect_shape("window scores", scores, (None, (height - side + 1) * (width - side + 1)))
    inverse_BN = 1 / scores.clamp(min=_SMALLEST_SCORE)
    # One block of side x side cells per window, all of the window's value; blocks are added up.
    both = torch.stack([inverse_BN, torch.ones_like(inverse_BN)], 1)
    blocks = both.flatten(0, 1)[:, None].expand(-1, side * side, -1)
    sums, counts = functional.fold(blocks, grid, side).view(-1, 2, *grid).unbind(1)
    return counts / sums


def text_map(features: ImageFeatures, alignment: Alignment) -> Tensor:
    """(B, h, w) WinCLIP's zero-shot map on the patch grid, in [0, 1].

    The harmonic mean of the probability of the whole image, at every patch, and of the maps of all
    scales of windows.

    Raises:
        ValueError: If there are no windows.
    """
    if not alignment.window_logits:
        raise ValueError(
            "expected window embeddings among the features, got none; set "
            "model.tower.init_args.window_sides to [2, 3]"
        )
    grid = features.grids[0]
    image_B11 = anomaly_probability(alignment.image_logits)[:, None, None]
    maps = [image_B11.expand(-1, *grid)]
    for logits, side in zip(alignment.window_logits, features.window_sides, strict=True):
        maps.append(window_map(anomaly_probability(logits), grid, side))
    return harmonic_mean(torch.stack(maps))
