"""The focal loss of two logits, whatever they belong to."""

from __future__ import annotations

import torch
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
    return focal_of_margin(logits[:, 1] - logits[:, 0], targets, gamma)


def focal_of_margin(margin: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """The focal loss of logits that differ by ``margin``; see ``focal``.

    Args:
        margin: (M, ...) float, the anomalous logit less the normal one.
        targets: (M, ...) float in [0, 1], or bool.
        gamma: Focusing exponent, >= 0.

    Returns:
        Scalar float, >= 0.

    Raises:
        ValueError: If shapes do not fit.
    """
    expect_shape("targets", targets, tuple(margin.shape))
    if targets.dtype == torch.bool:
        sign = 1 - 2 * targets.to(margin.dtype)
        return _cost_of_wrong(sign * margin, gamma).mean()
    normal, anomalous = _cost_of_wrong(margin, gamma), _cost_of_wrong(-margin, gamma)
    return ((1 - targets) * normal + targets * anomalous).mean()


def _cost_of_wrong(margin: Tensor, gamma: float) -> Tensor:
    """Cost of each item, with the margin by which the wrong logit exceeds the right one.

    The wrong side's probability is ``sigmoid(margin)``, the right side's logarithm is
    ``-softplus(margin)``: exact where one of the two is near 1.
    """
    wrong = torch.sigmoid(margin)
    if 0 < gamma < 1:  # the derivative of the power is infinite at 0
        wrong = wrong.clamp_min(torch.finfo(wrong.dtype).tiny)
    return wrong.pow(gamma) * functional.softplus(margin)


def expect_gamma(gamma: float) -> None:
    """Refuse a negative focusing exponent.

    Raises:
        ValueError: With the given number.
    """
    if gamma < 0:
        raise ValueError(f"expected gamma >= 0, got {gamma}; the paper uses 2")
