"""SigLIP's pairwise sigmoid between images and descriptions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_shape
from clad.losses.base import Loss
from clad.losses.pairs import text_pairs
from clad.types import LossInputs


def pairwise_sigmoid(
    image: Tensor,
    text: Tensor,
    positive: Tensor,
    negative: Tensor,
    scale: float | Tensor,
    bias: float | Tensor,
) -> Tensor:
    """Sum over pairs of ``-log sigmoid(z (scale cosine + bias))``, divided by the images.

    Args:
        image: (B, D) float, unit norm.
        text: (N, D) float, unit norm.
        positive: (B, N) bool, pairs with z = 1.
        negative: (B, N) bool, pairs with z = -1; pairs in neither mask cost nothing.
        scale: Multiplier of the cosine, > 0.
        bias: Added to it.

    Returns:
        Scalar float, >= 0.

    Raises:
        ValueError: If shapes do not fit.

    Source: SigLIP (Zhai et al., ICCV 2023, arXiv:2303.15343), equation 1.
    """
    expect_shape("text", text, (None, image.shape[-1]))
    expect_shape("positive", positive, (len(image), len(text)))
    expect_shape("negative", negative, (len(image), len(text)))
    logits_BN = scale * (image @ text.T) + bias
    cost = functional.softplus(-logits_BN) * positive + functional.softplus(logits_BN) * negative
    return cost.sum() / len(image)


class SigmoidLoss(Loss):
    """Each image-text pair is its own yes-or-no question; scale and bias learn.

    Source: SigLIP (Zhai et al., ICCV 2023, arXiv:2303.15343).

    Args:
        weight: Factor in the sum, >= 0.
        initial_scale: Multiplier of the cosine at the start, > 0; the paper's is 10.
        initial_bias: Added to it at the start; the paper's is -10, as most pairs are negative.
    """

    def __init__(
        self, weight: float = 1.0, initial_scale: float = 10.0, initial_bias: float = -10.0
    ) -> None:
        super().__init__(weight)
        if not initial_scale > 0:
            raise ValueError(f"expected initial_scale > 0, got {initial_scale}; the paper uses 10")
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))
        self.bias = nn.Parameter(torch.tensor(float(initial_bias)))

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the images of the batch and every description (``text_pairs``)."""
        pairs = text_pairs(inputs)
        return pairwise_sigmoid(
            pairs.image,
            pairs.text,
            pairs.positive,
            pairs.negative,
            self.log_scale.exp(),
            self.bias,
        )
