"""Patch margins beside masks at one resolution: shared by the pixel losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.features import enlarge
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


def margins_and_targets(
    inputs: LossInputs, resolution: Resolution, who: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Layer by layer, margins (M, h, w) and targets (M, h, w) of the M images with a mask.

    A margin is the anomalous logit less the normal one: all that a softmax of two looks at, at half
    the work. ``image`` enlarges it to the mask (bilinear, as APRIL-GAN does its logits, but with
    pixel centres aligned instead of corners), and the mask stays bool; ``image_probability``
    enlarges the probabilities, as AnomalyCLIP does, and gives the margin that they come from;
    ``grid`` shrinks the mask to the patches instead, where a target is the anomalous fraction of a
    patch's pixels: 256 times less work for 16-pixel patches. Images whose mask is unknown are left
    out; where none is left, M is 0.
    """
    alignment = expect_alignment(inputs, who)
    has_mask = inputs.batch.has_mask
    known: Tensor | slice = slice(None) if bool(has_mask.all()) else has_mask
    masks = inputs.batch.masks[known]
    for logits_BP2, grid in zip(alignment.patch_logits, alignment.grids, strict=True):
        logits = logits_BP2[known].float()
        margins = (logits[..., 1] - logits[..., 0]).unflatten(1, grid)
        with torch.autocast(margins.device.type, enabled=False):  # it would round the products
            found = _at(resolution, margins, masks)
        yield found


def _at(resolution: Resolution, margins: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Margins and targets at a resolution."""
    grid, size = (margins.shape[1], margins.shape[2]), (masks.shape[1], masks.shape[2])
    if len(masks) == 0:
        return margins, torch.zeros_like(margins)
    if resolution == "image":
        return enlarge(margins, size), masks
    if resolution == "image_probability":
        sides = [enlarge(torch.sigmoid(side), size) for side in (margins, -margins)]
        # Far apart logits underflow; the smallest normal number keeps logarithms finite.
        anomalous, normal = (side.clamp_min(torch.finfo(side.dtype).tiny).log() for side in sides)
        return anomalous - normal, masks
    return margins, functional.adaptive_avg_pool2d(masks.float().unsqueeze(1), grid).squeeze(1)


def nothing(inputs: LossInputs, who: str) -> Tensor:
    """A zero that still carries a graph, for a batch without any mask."""
    alignment = expect_alignment(inputs, who)
    return sum((logits.sum() * 0 for logits in alignment.patch_logits), torch.zeros(()))
