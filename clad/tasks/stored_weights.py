"""What a checkpoint gives back, with or without a trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clad.checks import expect_range
from clad.heads.base import Head
from clad.metrics.settings import MetricSettings, ThresholdRule
from clad.prompts.base import PrototypeCache
from clad.stopwatch import Watch, unwatched
from clad.tasks.calibration import NO_THRESHOLDS
from clad.tasks.checkpoint import expect_same_weights, read_entries, without_frozen
from clad.tasks.parameter_counts import PartCount, parameter_counts
from clad.tasks.rethreshold import expect_kept_scores, rethreshold
from clad.towers.base import Tower
from clad.tuning.base import Tuning


class StoredWeights(nn.Module, ABC):
    """Reads the trained parts, categories and thresholds; the parts are the subclass's matter."""

    tower: Tower
    head: Head
    tuning: Tuning | None
    metrics: MetricSettings
    false_alarm_budget: float

    def __init__(self) -> None:
        super().__init__()
        self.class_names: tuple[str, ...] = ()
        self.thresholds_fitted = NO_THRESHOLDS
        self.watch: Watch = unwatched
        self._prototypes = PrototypeCache()
        self._is_trained = False

    @abstractmethod
    def attach(self, class_names: tuple[str, ...]) -> None:
        """Create the parameters of every slot for these categories; the first call counts."""

    def load_weights(self, path: Path) -> None:
        """Take over everything that a training left in a checkpoint, without a trainer.

        Raises:
            ValueError: As ``on_load_checkpoint`` does.
        """
        # Plain tensors only: a file from elsewhere cannot run code.
        stored = torch.load(path, map_location="cpu", weights_only=True)
        self.on_load_checkpoint(stored)
        self.load_state_dict(stored["state_dict"], strict=False)  # without the frozen weights

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over categories and thresholds, and check that the recipe is the same.

        Thresholds come by the rule of this run (``clad.tasks.rethreshold``).

        Raises:
            ValueError: If it is not one of ours, lacks a category that the head must know, or holds
                the weights of other parts.
        """
        found = read_entries(checkpoint, self.class_names, self.head)
        class_names, stored = found
        self.attach(class_names)
        # Empty again; and this run may look at only some of the trained categories.
        self.head.attach(self.tower, class_names)
        self.class_names = class_names
        budget = self.false_alarm_budget
        self.thresholds_fitted = rethreshold(stored, self.metrics, budget, class_names)
        expect_same_weights(checkpoint["state_dict"], self._kept())
        self._prototypes.clear()
        self._is_trained = True

    def set_threshold(
        self, value: float | None = None, false_alarm_budget: float | None = None
    ) -> None:
        """Call images anomalous from this score on, or from where this share of alarms is met.

        Args:
            value: Raw score for every category; None fits it to the budget.
            false_alarm_budget: Accepted share of false alarms among normal images, in (0, 1); met
                on the scores of normal images that the training kept. None leaves it.

        Raises:
            ValueError: If a trained threshold is to be fitted anew and no scores were kept.
        """
        if false_alarm_budget is not None:
            expect_range("false_alarm_budget", false_alarm_budget, 1e-6, 1 - 1e-6)
            expect_kept_scores(self.thresholds_fitted)
            self.false_alarm_budget = false_alarm_budget
        rule: ThresholdRule = "false_alarms" if value is None else "given"
        self.metrics = replace(self.metrics, threshold_rule=rule, threshold=value)
        self.thresholds_fitted = rethreshold(
            self.thresholds_fitted, self.metrics, self.false_alarm_budget, self.class_names
        )

    def _kept(self) -> dict[str, Tensor]:
        """What of this task goes into checkpoints."""
        return without_frozen(self.state_dict(), self.tower, self.tuning)

    @property
    def parameter_counts(self) -> dict[str, PartCount]:
        """How many weights of each part learn, once attached."""
        return parameter_counts(self.named_parameters(), self.tuning)

    @property
    def thresholds(self) -> dict[str, float] | None:
        """Category name -> threshold on raw scores; None where none could be fitted."""
        return dict(self.thresholds_fitted.values) or None

    @property
    def threshold_source(self) -> str:
        """What the thresholds were fitted on, in words."""
        fitted = self.thresholds_fitted
        if fitted.rule == "given":
            return fitted.source
        return "; ".join(
            [fitted.source, *(f"of {level}s: {e.source}" for level, e in fitted.levels.items())]
        )
