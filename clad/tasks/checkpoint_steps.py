"""The steps of a task that write and read checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from clad.prompts.base import PrototypeCache
from clad.tasks.checkpoint import (
    expect_none_random,
    trained_parts,
    without_frozen,
    write_entries,
)
from clad.tasks.evaluation_steps import EvaluationSteps
from clad.towers.base import Tower
from clad.tuning.base import Tuning


class CheckpointSteps(EvaluationSteps):
    """Keeps what was trained, and starts from it; the parts are the subclass's matter."""

    tower: Tower
    tuning: Tuning | None
    class_names: tuple[str, ...]
    initial_weights: Path | None
    _prototypes: PrototypeCache
    _is_trained: bool

    def __init__(self) -> None:
        super().__init__()
        self.strict_loading = False  # frozen weights are not in checkpoints; see StoredWeights

    @abstractmethod
    def _kept(self) -> dict[str, Tensor]:
        """What of this task goes into checkpoints."""

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen weights out; add what is not a weight."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = without_frozen(state, self.tower, self.tuning)
        write_entries(checkpoint, self.class_names, self.thresholds_fitted)
