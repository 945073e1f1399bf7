"""Text logits -> maps at image size: shared by heads that compare patches with words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clad.features import enlarge
from clad.types import Alignment


def difference(logits: Tensor) -> Tensor:
    """(...) how anomalous (..., 2) logits are: the anomalous one less the normal one, float32."""
    return logits[..., 1].float() - logits[..., 0].float()


def layer_differences(alignment: Alignment) -> list[Tensor]:
    """(B, h_l, w_l) how anomalous the words call each patch, layer by layer."""
    return [
        difference(logits_BP2).unflatten(1, grid)
        for logits_BP2, grid in zip(alignment.patch_logits, alignment.grids, strict=True)
    ]


def pixel_probabilities(layers: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """(B, height, width) anomalous probability of each pixel, the mean over layers.

    Logits are enlarged first and become probabilities then, as in APRIL-GAN's code, which adds the
    layers up and aligns corners where pixel centres are aligned here.

    Args:
        layers: Differences of logits (B, h_l, w_l).
        size: (height, width).
    """
    return torch.stack([torch.sigmoid(enlarge(layer, size)) for layer in layers]).mean(0)
