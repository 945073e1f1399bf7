"""The data of a trainer, as a task needs it."""

from __future__ import annotations

from lightning.pytorch import Trainer

from clad.data.datamodule import AnomalyDataModule


def data_of(trainer: Trainer) -> AnomalyDataModule:
    """The trainer's data.

    Raises:
        TypeError: If it is no data module of ours, which knows references and categories.
    """
    data = trainer.datamodule
    if not isinstance(data, AnomalyDataModule):
        raise TypeError(
            f"expected an AnomalyDataModule as the trainer's data, got {type(data).__name__}; "
            "pass one as `datamodule`"
        )
    return data
