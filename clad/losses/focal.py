"""The focal loss of two logits, whatever they belong to."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from clad.checks import expect_shape


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


def expect_gamma(gamma: float) -> None:
    """Refuse a negative focusing exponent.

    Raises:
        ValueError: With the given number.
    """
    if gamma < 0:
        raise ValueError(f"expected gamma >= 0, got {gamma}; the paper uses 2")
