"""The steps of a task that write and read checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from clad.heads.base import Head
from clad.prompts.base import PrototypeCache
from clad.tasks.checkpoint import (
    expect_none_random,
    expect_same_weights,
    read_entries,
    trained_parts,
    without_frozen,
    write_entries,
)
from clad.tasks.evaluation_steps import EvaluationSteps
from clad.tasks.parameter_counts import PartCount, parameter_counts
from clad.tasks.rethreshold import rethreshold
from clad.towers.base import Tower
from clad.tuning.base import Tuning


class CheckpointSteps(EvaluationSteps):
    """Keeps what was trained, and starts from it; the parts are the subclass's matter."""

    tower: Tower
    head: Head
    tuning: Tuning | None

    def __init__(self, initial_weights: Path | None) -> None:
        super().__init__()
        self.initial_weights = initial_weights
        self.strict_loading = False  # frozen weights are not in checkpoints; see on_load_checkpoint
        self.class_names: tuple[str, ...] = ()
        self._prototypes = PrototypeCache()
        self._is_trained = False

    @abstractmethod
    def attach(self, class_names: tuple[str, ...]) -> None:
        """Create the parameters of every slot for these categories; the first call counts."""

    def on_fit_start(self) -> None:
        """Take over an earlier stage, unless this training continues one."""
        if self._is_trained:
            return
        if self.initial_weights is not None:
            self.take_over(self.initial_weights)
        else:
            expect_none_random(self.tower, self.tuning)

    def take_over(self, path: Path) -> None:
        """Start from the trained parts of an earlier stage, and say which they were.

        Raises:
            FileNotFoundError: If the checkpoint is not there.
            ValueError: If it holds none of this recipe's parts, one in another shape, or not all
                that the tuning added and that will not learn.
        """
        found = trained_parts(path, self._kept())
        expect_none_random(self.tower, self.tuning, found)
        self.load_state_dict(found, strict=False)
        self._prototypes.clear()
        rank_zero_info(f"Took over {len(found)} tensors from {path}: {', '.join(found)}")

    def load_weights(self, path: Path) -> None:
        """Take over everything that a training left in a checkpoint, without a trainer.

        Raises:
            ValueError: As ``on_load_checkpoint`` does.
        """
        # Plain tensors only: a file from elsewhere cannot run code.
        stored = torch.load(path, map_location="cpu", weights_only=True)
        self.on_load_checkpoint(stored)
        self.load_state_dict(stored["state_dict"], strict=self.strict_loading)

    @property
    def parameter_counts(self) -> dict[str, PartCount]:
        """How many weights of each part learn, once attached."""
        return parameter_counts(self.named_parameters(), self.tuning)

    def _kept(self) -> dict[str, Tensor]:
        """What of this task goes into checkpoints."""
        return without_frozen(self.state_dict(), self.tower, self.tuning)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen weights out; add what is not a weight."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = without_frozen(state, self.tower, self.tuning)
        write_entries(checkpoint, self.class_names, self.thresholds_fitted)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over categories and thresholds, and check that the recipe is the same.

        Thresholds come by the rule of this run (``clad.tasks.rethreshold``).

        Raises:
            ValueError: If it is not one of ours, lacks a category that the head must know, or holds
                the weights of other parts.
        """
        found = read_entries(checkpoint, self.class_names, self.head)
        class_names, stored = found
        budget = self.false_alarm_budget
        self.thresholds_fitted = rethreshold(stored, self.metrics, budget, class_names)
        self.attach(class_names)
        # Empty again; and this run may look at only some of the trained categories.
        self.head.attach(self.tower, class_names)
        self.class_names = class_names
        expect_same_weights(checkpoint["state_dict"], self._kept())
        self._prototypes.clear()
        self._is_trained = True
