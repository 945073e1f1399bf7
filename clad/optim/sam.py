"""Sharpness-aware minimisation around stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from clad.checks import expect_range

_TINY = 1e-12


class SAM(SGD):
    """SGD with the gradient of a point uphill: weights come to rest where the loss is flat.

    Each step looks at the batch twice: at the weights w, with the gradient g, and at
    ``w + rho g / |g|``, whose gradient moves w. ``|g|`` is over all weights. It costs twice the
    time of SGD. A training step that draws random numbers has to draw the same ones both times,
    which clad's does.

    It cannot be used with ``accumulate_grad_batches`` above 1, where the second look would see the
    last batch alone, nor with ``precision: 16-mixed``, whose loss scaling leaves out the second
    look; the latter is refused.

    Source: SAM (Foret et al., ICLR 2021, arXiv:2010.01412), algorithm 1, with the Euclidean norm;
    used by SBI (Shiohara and Yamasaki, CVPR 2022, arXiv:2204.08376).

    Args:
        params: Weights or groups of them.
        lr: Learning rate.
        momentum: Of the SGD step, in [0, 1).
        weight_decay: Of the SGD step, >= 0.
        rho: How far uphill, >= 0; 0 is SGD.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        rho: float = 0.05,
    ) -> None:
        expect_range("rho", rho, 0, 1e3)
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.rho = rho

    def step(self, closure: Callable[[], float] | None = None) -> Any:  # noqa: ANN401 torch's
        """One update; gives the loss at the weights before it.

        Args:
            closure: Clears gradients, computes the loss, and sends it backward; called twice.

        Raises:
            ValueError: If there is none.
        """
        if closure is None:
            raise ValueError(
                "expected a closure for SAM, which computes the loss twice, got none; train with "
                "precision 32-true or bf16-mixed, and with automatic optimisation"
            )
        with torch.enable_grad():
            loss = closure()
        with torch.no_grad():
            here = self._climb()
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            for weight, value in here:
                weight.copy_(value)
            super().step()
        return loss

    def _climb(self) -> list[tuple[Tensor, Tensor]]:
        """Move weights uphill; gives each with the value it had."""
        weights = [
            weight
            for group in self.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        if not weights:
            return []
        device = weights[0].device
        norms = [weight.grad.norm().to(device) for weight in weights]
        scale = self.rho / (torch.stack(norms).norm() + _TINY)
        here = [(weight, weight.clone()) for weight in weights]
        for weight in weights:
            weight.add_(weight.grad * scale.to(weight))
        return here
