"""Focal loss of patch logits against the mask."""

from __future__ import annotations

from torch import Tensor

from clad.checks import expect_choice
from clad.losses.base import Loss
from clad.losses.focal import expect_gamma, focal_of_margin
from clad.losses.pixels import RESOLUTIONS, Resolution, margins_and_targets, nothing
from clad.types import LossInputs


class PatchFocal(Loss):
    """Focal loss of every layer's patch-text map, summed over layers.

    Source: APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382) and AnomalyCLIP (Zhou et al., ICLR
    2024, arXiv:2310.18961), local term; both compare at image resolution.

    Args:
        weight: Factor in the sum, >= 0.
        gamma: Focusing exponent, >= 0.
        resolution: ``grid`` compares patches with the anomalous fraction of their pixels (fast);
            ``image`` enlarges the logits to the mask (APRIL-GAN); ``image_probability`` enlarges
            their softmax (AnomalyCLIP).
    """

    def __init__(
        self, weight: float = 1.0, gamma: float = 2.0, resolution: Resolution = "grid"
    ) -> None:
        super().__init__(weight)
        expect_gamma(gamma)
        expect_choice("resolution", resolution, RESOLUTIONS)
        self.gamma = gamma
        self.resolution: Resolution = resolution

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the images with a mask; zero where the batch has none."""
        who = type(self).__name__
        total = nothing(inputs, who)
        for margins, targets in margins_and_targets(inputs, self.resolution, who):
            if len(targets):
                total = total + focal_of_margin(margins, targets, self.gamma)
        return total
