"""Dice loss of patch probabilities against the mask."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from clad.checks import expect_choice, expect_shape
from clad.losses.base import Loss
from clad.losses.pixels import RESOLUTIONS, Resolution, margins_and_targets, nothing
from clad.types import LossInputs


def dice(probability: Tensor, targets: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice overlap, averaged over images.

    Per image ``1 - (2 sum p t + smooth) / (sum p + sum t + smooth)``.

    Args:
        probability: (M, ...) float in [0, 1].
        targets: (M, ...) float in [0, 1].
        smooth: Added above and below, > 0; keeps images with an empty mask defined.

    Returns:
        Scalar float in [0, 1).

    Raises:
        ValueError: If shapes do not fit.

    Source: Milletari et al., V-Net (3DV 2016, arXiv:1606.04797), equation 2 without the squares,
    smoothed as in APRIL-GAN (arXiv:2305.17382).
    """
    expect_shape("targets", targets, tuple(probability.shape))
    p, t = probability.flatten(1), targets.flatten(1)
    overlap = (2 * (p * t).sum(dim=1) + smooth) / (p.sum(dim=1) + t.sum(dim=1) + smooth)
    return (1 - overlap).mean()


class PatchDice(Loss):
    """Dice loss of every layer's patch-text map, summed over layers.

    Source: APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382), anomalous channel; AnomalyCLIP
    (Zhou et al., ICLR 2024, arXiv:2310.18961) and AdaCLIP (Cao et al., ECCV 2024,
    arXiv:2407.15795), both channels.

    Args:
        weight: Factor in the sum, >= 0.
        channels: ``anomalous`` alone, or ``both``: the normal channel against the inverse, too.
        smooth: Added above and below, in patches or pixels as ``resolution`` has it; > 0.
        overlap: Over what it is taken, then averaged: ``image``; or ``row``, each row of pixels, as
            AdaCLIP's code does with its batches of one image.
        resolution: ``grid`` compares patches with the anomalous fraction of their pixels (fast);
            ``image`` enlarges the logits to the mask (APRIL-GAN); ``image_probability`` enlarges
            their softmax (AnomalyCLIP).
    """

    def __init__(
        self,
        weight: float = 1.0,
        channels: Literal["anomalous", "both"] = "anomalous",
        smooth: float = 1.0,
        resolution: Resolution = "grid",
        overlap: Literal["image", "row"] = "image",
    ) -> None:
        super().__init__(weight)
        expect_choice("channels", channels, ("anomalous", "both"))
        expect_choice("overlap", overlap, ("image", "row"))
        expect_choice("resolution", resolution, RESOLUTIONS)
        if not smooth > 0:
            raise ValueError(f"expected smooth > 0, got {smooth}; the papers use 1")
        self.channels = channels
        self.smooth = smooth
        self.resolution: Resolution = resolution
        self.overlap = overlap

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the images with a mask; zero where the batch has none."""
        who = type(self).__name__
        total = nothing(inputs, who)
        for margins, targets in margins_and_targets(inputs, self.resolution, who):
            if len(targets):
                truth = targets.to(margins.dtype)
                total = total + self._dice(torch.sigmoid(margins), truth)
                if self.channels == "both":
                    total = total + self._dice(torch.sigmoid(-margins), 1 - truth)
        return total

    def _dice(self, probability: Tensor, targets: Tensor) -> Tensor:
        if self.overlap == "row":
            probability, targets = probability.flatten(0, 1), targets.flatten(0, 1)
        return dice(probability, targets, self.smooth)
