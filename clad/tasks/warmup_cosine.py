"""A small constant learning rate for some epochs, then half a cosine, epoch by epoch."""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clad.checks import expect_range


class WarmupCosine(LRScheduler):
    """Rate of epoch e = 0, 1, ...: the warm-up's, then ``rate (1 + cos(pi k / num_epochs)) / 2``.

    k = e - warmup_epochs: the cosine starts at the optimiser's full rate once the warm-up is over,
    and, with one epoch of it, ends before its lowest point. Training for ``warmup_epochs`` alone
    stays at the warm-up's rate throughout.

    Source: the schedule of CoOp's code (Zhou et al., IJCV 2022, arXiv:2109.01134) and of CLIPping
    the Deception (Khan and Dang-Nguyen, ICMR 2024, arXiv:2402.12927): constant warm-up of the
    library Dassl.pytorch, stepped once per epoch.

    Args:
        optimizer: Its rates are the full ones.
        num_epochs: Length of half the cosine, >= 1: the epochs of the training.
        warmup_epochs: Epochs of the constant rate, >= 0.
        warmup_rate: That rate, the same for all weights, > 0.
    """

    interval = "epoch"
    """How often the trainer steps it (``clad.tasks.learning_rates``)."""

    def __init__(
        self,
        optimizer: Optimizer,
        num_epochs: int,
        warmup_epochs: int = 1,
        warmup_rate: float = 1e-5,
    ) -> None:
        expect_range("num_epochs", num_epochs, 1, float("inf"))
        expect_range("warmup_epochs", warmup_epochs, 0, float("inf"))
        expect_range("warmup_rate", warmup_rate, 1e-12, 1e3)
        self.num_epochs = num_epochs
        self.warmup_epochs = warmup_epochs
        self.warmup_rate = warmup_rate
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rates of the epoch, one for each group of weights."""
        beyond = self.last_epoch - self.warmup_epochs
        if beyond < 0:
            return [self.warmup_rate for _ in self.base_lrs]
        share = (1 + math.cos(math.pi * beyond / self.num_epochs)) / 2
        return [share * rate for rate in self.base_lrs]
