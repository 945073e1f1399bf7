"""Patch logits beside masks at one resolution: shared by the pixel losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.types import Alignment, LossInputs

Resolution = Literal["grid", "image", "image_probability"]
RESOLUTIONS = ("grid", "image", "image_probability")


def expect_alignment(inputs: LossInputs, who: str) -> Alignment:
    """The text logits.

    Raises:
        ValueError: If there are none.
    """
    if inputs.alignment is None:
        raise ValueError(
            f"expected text logits for {who}, got none; give the model a prompt strategy and an "
            "adapter that aligns the tower, or leave the loss out"
        )
    return inputs.alignment


def logits_and_targets(
    inputs: LossInputs, resolution: Resolution, who: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Layer by layer, logits (M, 2, h, w) and targets (M, h, w) of the M images with a mask.

    ``image`` enlarges the logits to the mask (bilinear, as APRIL-GAN does, but with pixel centres
    aligned instead of corners); ``image_probability`` enlarges their softmax, as AnomalyCLIP does,
    and what comes out is its logarithm; ``grid`` shrinks the mask to the patches instead, where a
    target is the anomalous fraction of a patch's pixels: 256 times less work for 16-pixel patches.
    Images whose mask is unknown are left out; where none is left, M is 0.
    """
    alignment = expect_alignment(inputs, who)
    known = inputs.batch.has_mask
    masks = inputs.batch.masks[known].float()
    for logits_BP2, grid in zip(alignment.patch_logits, alignment.grids, strict=True):
        logits = logits_BP2[known].float().transpose(1, 2).unflatten(2, grid)
        if len(masks) == 0:
            yield logits, masks.new_zeros(0, *grid)
        elif resolution == "image":
            yield _enlarged(logits, masks), masks
        elif resolution == "image_probability":
            probability = _enlarged(torch.softmax(logits, dim=1), masks)
            # Far apart logits underflow; the smallest normal number keeps the logarithm finite.
            yield probability.clamp_min(torch.finfo(probability.dtype).tiny).log(), masks
        else:
            yield logits, functional.adaptive_avg_pool2d(masks.unsqueeze(1), grid).squeeze(1)


def _enlarged(maps: Tensor, masks: Tensor) -> Tensor:
    return functional.interpolate(maps, masks.shape[-2:], mode="bilinear", align_corners=False)


def nothing(inputs: LossInputs, who: str) -> Tensor:
    """A zero that still carries a graph, for a batch without any mask."""
    alignment = expect_alignment(inputs, who)
    return sum((logits.sum() * 0 for logits in alignment.patch_logits), torch.zeros(()))
