"""Which weights learn, and at which rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clad.towers.base import Tower

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Parameters or groups of them -> optimiser; a YAML gives its class and settings."""

LRSchedulerCallable = Callable[[Optimizer], LRScheduler]
"""Optimiser -> schedule of its rates; likewise."""


def learning_groups(
    parameters: Iterable[Parameter], tower: Tower, tower_rate: float | None
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: what learns outside the tower, then what learns in it.

    Args:
        parameters: Of the whole task.
        tower: Its weights form a group of their own.
        tower_rate: Learning rate of that group; None leaves it the optimiser's.

    Returns:
        Groups with at least one weight each; frozen weights are left out.

    Raises:
        ValueError: If the rate is not positive.
    """
    if tower_rate is not None and not tower_rate > 0:
        raise ValueError(
            f"expected tower_learning_rate > 0, got {tower_rate}; to keep the tower as it is, "
            "leave model.tuning out"
        )
    own = {id(weight) for weight in tower.parameters()}
    learning = [weight for weight in parameters if weight.requires_grad]
    outside = [weight for weight in learning if id(weight) not in own]
    inside = [weight for weight in learning if id(weight) in own]
    if tower_rate is None:
        return [{"params": learning}]
    groups: list[dict[str, Any]] = [{"params": outside}, {"params": inside, "lr": tower_rate}]
    return [group for group in groups if group["params"]]


def with_schedule(
    optimizer: Optimizer, scheduler: LRSchedulerCallable | None
) -> OptimizerLRScheduler:
    """The optimiser as Lightning takes it, its rates stepped after every batch.

    A schedule with an ``interval`` of its own (``step`` or ``epoch``) is stepped at that.
    """
    if scheduler is None:
        return optimizer
    made = scheduler(optimizer)
    schedule = {"scheduler": made, "interval": getattr(made, "interval", "step")}
    return {"optimizer": optimizer, "lr_scheduler": schedule}
