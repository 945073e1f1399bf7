"""InfoNCE between images and descriptions, in both directions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_shape
from clad.losses.base import Loss
from clad.losses.pairs import text_pairs
from clad.types import LossInputs


def info_nce(
    image: Tensor, text: Tensor, positive: Tensor, negative: Tensor, temperature: float
) -> Tensor:
    """Mean of the image-to-text and the text-to-image term.

    Each positive pair (i, j) stands alone against the negatives of its row:
    ``-log(e^{l_ij} / (e^{l_ij} + sum_{k in N_i} e^{l_ik}))`` with ``l = cosine / temperature``.
    Further positives of the same image are not in the denominator, so they do not compete. A row's
    pairs are averaged, then rows; the other direction does the same by columns, over the texts that
    describe some image.

    Args:
        image: (B, D) float, unit norm.
        text: (N, D) float, unit norm.
        positive: (B, N) bool, at least one True in each row.
        negative: (B, N) bool.
        temperature: Divisor of the cosine, > 0.

    Returns:
        Scalar float, >= 0.

    Source: CLIP (Radford et al., ICML 2021, arXiv:2103.00020), figure 3, to which this reduces
    with one text per image; several positives as in supervised contrastive learning (Khosla et al.,
    NeurIPS 2020, arXiv:2004.11362, L_out), which keeps them in the denominator.
    """
    expect_shape("text", text, (None, image.shape[-1]))
    expect_shape("positive", positive, (len(image), len(text)))
    expect_shape("negative", negative, (len(image), len(text)))
    logits_BN = image @ text.T / temperature
    return (
        _one_direction(logits_BN, positive, negative)
        + _one_direction(logits_BN.T, positive.T, negative.T)
    ) / 2


def _one_direction(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over the rows that have a positive."""
    lowest = torch.finfo(logits.dtype).min
    against = logits.masked_fill(~negative, lowest).logsumexp(dim=1, keepdim=True)
    # -log(e^l / (e^l + e^a)) = softplus(a - l)
    cost = functional.softplus(against - logits) * positive
    count = positive.sum(dim=1)
    return (cost.sum(dim=1) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class InfoNCELoss(Loss):
    """Symmetric InfoNCE between images and descriptions of their class and state.

    Source: CLIP (Radford et al., ICML 2021, arXiv:2103.00020); see ``info_nce`` for duplicates.

    Args:
        weight: Factor in the sum, >= 0.
        temperature: Divisor of the cosine, > 0; CLIP starts at 0.07.
    """

    def __init__(self, weight: float = 1.0, temperature: float = 0.07) -> None:
        super().__init__(weight)
        if not temperature > 0:
            raise ValueError(f"expected a temperature > 0, got {temperature}; CLIP's is 0.07")
        self.temperature = temperature

    @property
    def name(self) -> str:
        """``info_nce``: the acronym does not fall apart into letters."""
        return "info_nce"

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the images of the batch and every description (``text_pairs``)."""
        pairs = text_pairs(inputs)
        return info_nce(pairs.image, pairs.text, pairs.positive, pairs.negative, self.temperature)
