"""Focal loss of the image's (normal, anomalous) logits."""

from __future__ import annotations

from torch import Tensor

from clad.losses.base import Loss
from clad.losses.focal import expect_gamma, focal
from clad.losses.pixels import expect_alignment
from clad.types import LossInputs


class ImageFocal(Loss):
    """Two-way focal loss of image against text: cross-entropy in which clear cases count little.

    Source: AdaCLIP (Cao et al., ECCV 2024, arXiv:2407.15795), section 3.4, image term; its logits
    are those after semantic fusion, where the adapter has one.

    Args:
        weight: Factor in the sum, >= 0.
        gamma: Focusing exponent, >= 0; 0 gives cross-entropy.
    """

    def __init__(self, weight: float = 1.0, gamma: float = 2.0) -> None:
        super().__init__(weight)
        expect_gamma(gamma)
        self.gamma = gamma

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over all images of the batch."""
        alignment = expect_alignment(inputs, type(self).__name__)
        return focal(alignment.image_logits, inputs.batch.labels.float(), self.gamma)
