"""Normal and anomalous words at right angles (AA-CLIP)."""

from __future__ import annotations

from torch import Tensor

from clad.checks import expect_shape, expect_unit_norm
from clad.losses.base import Loss
from clad.types import LossInputs


def disentangle(prototypes: Tensor) -> Tensor:
    """Squared mean cosine of the normal with the anomalous prototype.

    Args:
        prototypes: (B, 2, D) float, unit norm, one pair per image.

    Returns:
        Scalar float in [0, 1]; 0 where they stand at right angles.

    Raises:
        ValueError: If shapes do not fit or vectors are not of unit norm.

    Source: AA-CLIP (Ma et al., CVPR 2025, arXiv:2503.06661), disentangling loss. For one class it
    is (t_n . t_a)^2; over a batch the published code takes the mean first, then the square.
    """
    expect_shape("prototypes", prototypes, (None, 2, None))
    expect_unit_norm("prototypes", prototypes)
    return (prototypes[:, 0] * prototypes[:, 1]).sum(-1).mean().square()


class Disentangle(Loss):
    """Pushes what words say of normal and of anomalous images apart; only words learn from it.

    Source: AA-CLIP (Ma et al., CVPR 2025, arXiv:2503.06661), which weighs it with 0.1.

    Args:
        weight: Factor in the sum, >= 0.
    """

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the categories of the batch, each as often as it has images.

        Raises:
            ValueError: If the recipe has no prompts.
        """
        if inputs.prototypes is None:
            raise ValueError(
                "expected text prototypes for Disentangle, got none; name a strategy "
                "(configs/prompts/)"
            )
        return disentangle(inputs.prototypes.for_images(inputs.batch.categories))
