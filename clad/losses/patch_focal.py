"""Focal loss of patch logits against the mask."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice, expect_shape
from clad.losses.base import Loss
from clad.losses.pixels import RESOLUTIONS, Resolution, logits_and_targets, nothing
from clad.types import LossInputs


def focal(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean cross-entropy in which what is already right counts little.

    ``-sum_c t_c (1 - p_c)^gamma log p_c`` with p the softmax of the two logits; for a hard target
    this is the paper's loss, for a fraction its expectation.

    Args:
        logits: (M, 2, ...) float, (normal, anomalous) along dimension 1.
        targets: (M, ...) float in [0, 1], the anomalous fraction.
        gamma: Focusing exponent, >= 0; 0 gives cross-entropy.

    Returns:
        Scalar float, >= 0.

    Raises:
        ValueError: If shapes do not fit.

    Source: Lin et al., Focal loss for dense object detection (ICCV 2017, arXiv:1708.02002),
    equation 4. APRIL-GAN's code adds a smoothing of 1e-5 to targets and probabilities, which the
    log-softmax makes needless here.
    """
    expect_shape("logits", logits, (targets.shape[0], 2, *targets.shape[1:]))
    log_p = functional.log_softmax(logits, dim=1)
    # With two classes, 1 - p of one is p of the other: exact where p is near 1.
    other = (gamma * log_p.flip(1)).exp()
    cost = -other * log_p
    return ((1 - targets) * cost[:, 0] + targets * cost[:, 1]).mean()


class PatchFocal(Loss):
    """Focal loss of every layer's patch-text map, summed over layers.

    Source: APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382) and AnomalyCLIP (Zhou et al., ICLR
    2024, arXiv:2310.18961), local term; both compare at image resolution.

    Args:
        weight: Factor in the sum, >= 0.
        gamma: Focusing exponent, >= 0.
        resolution: ``grid`` compares patches with the anomalous fraction of their pixels (fast);
            ``image`` enlarges the maps to the mask (as the papers do).
    """

    def __init__(
        self, weight: float = 1.0, gamma: float = 2.0, resolution: Resolution = "grid"
    ) -> None:
        super().__init__(weight)
        if gamma < 0:
            raise ValueError(f"expected gamma >= 0, got {gamma}; the paper uses 2")
        expect_choice("resolution", resolution, RESOLUTIONS)
        self.gamma = gamma
        self.resolution: Resolution = resolution

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the images with a mask; zero where the batch has none."""
        who = type(self).__name__
        total = nothing(inputs, who)
        for logits, targets in logits_and_targets(inputs, self.resolution, who):
            if len(targets):
                total = total + focal(logits, targets, self.gamma)
        return total
