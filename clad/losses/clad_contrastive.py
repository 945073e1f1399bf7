"""CLAD's contrastive term: a hinge on either side of the image-text distance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from clad.checks import expect_choice, expect_shape
from clad.losses.base import Loss
from clad.losses.pairs import text_pairs
from clad.types import LossInputs

LARGEST_DISTANCE = 4.0


def double_hinge(
    image: Tensor,
    text: Tensor,
    positive: Tensor,
    negative: Tensor,
    alpha: float = 0.2,
    beta: float = 1.0,
    negatives: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Mean over images of what matching pairs exceed ``alpha`` and others fall short of ``beta``.

    With d_ij the squared Euclidean distance of image i and text j, P_i its positives and N_i its
    negatives: ``mean_i [mean_{j in P_i} max(0, d_ij - alpha) + sum_{j in N_i} max(0, beta -
    d_ij)]``. With one text per image and every other text a negative this is the paper's formula.

    Args:
        image: (B, D) float.
        text: (N, D) float.
        positive: (B, N) bool, at least one True in each row.
        negative: (B, N) bool; pairs in neither mask cost nothing.
        alpha: Matching pairs only need to be closer than this.
        beta: Other pairs must be farther apart than this.
        negatives: ``sum`` as in the paper, or ``mean`` over each image's negatives, which keeps the
            two sides in balance however many descriptions there are.

    Returns:
        Scalar float, >= 0.

    Raises:
        ValueError: If shapes do not fit.

    Source: CLAD (arXiv:2412.00890), contrastive loss; masks are ours (duplicates of one text would
    be false negatives).
    """
    expect_shape("text", text, (None, image.shape[-1]))
    expect_shape("positive", positive, (len(image), len(text)))
    expect_shape("negative", negative, (len(image), len(text)))
    # Not by matrix product: its rounding would show where distances are near zero.
    distances_BN = torch.cdist(image, text, compute_mode="donot_use_mm_for_euclid_dist").square()
    pull = (distances_BN - alpha).clamp(min=0) * positive
    push = (beta - distances_BN).clamp(min=0) * negative
    pulled = pull.sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    pushed = push.sum(dim=1)
    if negatives == "mean":
        pushed = pushed / negative.sum(dim=1).clamp(min=1)
    return (pulled + pushed).mean()


class CladContrastive(Loss):
    """CLAD's double hinge between images and descriptions of their class and state.

    Source: CLAD (arXiv:2412.00890). The paper gives no margins; the defaults are ours. Distances
    of unit vectors are ``2 - 2 cosine``, so margins live in [0, 4].

    Args:
        weight: Factor in the sum, >= 0.
        alpha: Squared distance within which a matching pair costs nothing.
        beta: Squared distance beyond which another pair costs nothing.
        negatives: ``sum`` (paper) or ``mean`` over the negatives of an image.
    """

    def __init__(
        self,
        weight: float = 1.0,
        alpha: float = 0.2,
        beta: float = 1.0,
        negatives: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__(weight)
        if not 0 <= alpha < beta <= LARGEST_DISTANCE:
            raise ValueError(
                f"expected 0 <= alpha < beta <= {LARGEST_DISTANCE:g} (squared distances of unit "
                f"vectors), got alpha={alpha} and beta={beta}"
            )
        expect_choice("negatives", negatives, ("sum", "mean"))
        self.alpha = alpha
        self.beta = beta
        self.negatives = negatives

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the images of the batch and every description (``text_pairs``)."""
        pairs = text_pairs(inputs)
        return double_hinge(
            pairs.image,
            pairs.text,
            pairs.positive,
            pairs.negative,
            self.alpha,
            self.beta,
            self.negatives,
        )
