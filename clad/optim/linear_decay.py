"""A learning rate that rests and then falls to zero in a line."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class LinearDecay(LambdaLR):
    """The optimiser's rate for a while, then a straight line to zero.

    clad steps it after every batch.

    Source: SBI (Shiohara and Yamasaki, CVPR 2022, arXiv:2204.08376): 100 epochs, the last 25 fall,
    there once an epoch.

    Args:
        optimizer: Its rates change.
        total_steps: Steps until the rate is zero, at least 1.
        constant_share: Share of them that keeps the rate, in [0, 1).

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, constant_share: float = 0.75
    ) -> None:
        if total_steps < 1 or not 0 <= constant_share < 1:
            raise ValueError(
                f"expected total_steps >= 1 and constant_share in [0, 1), got {total_steps} and "
                f"{constant_share}"
            )
        first = constant_share * total_steps
        super().__init__(
            optimizer,
            lambda step: min(1.0, max(0.0, (total_steps - step) / (total_steps - first))),
        )
