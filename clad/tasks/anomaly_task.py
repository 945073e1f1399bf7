"""The one LightningModule: trains and tests the slots of a recipe; it has no maths of its own."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from clad.tasks.anomaly_model import AnomalyModel
from clad.tasks.checkpoint_steps import CheckpointSteps
from clad.tasks.feature_cache import expect_fixed_features, use_cache
from clad.tasks.learning_rates import learning_groups, with_schedule
from clad.tasks.requirements import expect_one_process, expect_taught, expect_validation
from clad.tasks.trainer_data import data_of
from clad.types import Batch, LossInputs

_STEPS_APART = 1_000_003
"""Between the seeds of two steps; more than the batches that one step accumulates."""


class AnomalyTask(AnomalyModel, CheckpointSteps):
    """Trains the small parts of a recipe around a tower, and scores images with its head.

    Path of a batch: see ``AnomalyModel``. At the end of training the head observes the normal
    training images and the validation images, and thresholds are fitted on normal validation
    images.
    """

    # What the arguments mean: the command line's help reads it here.
    __doc__ = f"{cleandoc(__doc__)}\n\n{cleandoc(AnomalyModel.__doc__ or '')}"

    # Lightning's; said here because a type checker sees torch's __getattr__ first.
    trainer: Trainer
    global_step: int
    log: Callable[..., None]

    _prepared_at: int | None = None
    _random_seed = 0

    def setup(self, stage: str) -> None:
        """Create what depends on tower and categories; refuse what cannot work together."""
        data = data_of(self.trainer)
        if stage == "fit":
            expect_validation(self.head, data.splits)
        data.use_features(None)
        self.attach(data.class_names)
        if stage == "fit":
            expect_one_process(self.parameters(), self.trainer.world_size)
        if stage == "fit" and self.feature_cache is not None:
            parts = (self.tower, self.head, self.terms, self.prompts, self.inputs)
            expect_fixed_features(*parts, data)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over whatever learns; None where there is no loss."""
        if not self.terms:
            return None
        groups = learning_groups(self.parameters(), self.tower, self.tower_learning_rate)
        return with_schedule(self.optimizer(groups), self.scheduler)

    def on_fit_start(self) -> None:
        """Take over an earlier stage; encode each image once, where a cache is set."""
        has_weights = self._is_trained or self.initial_weights is not None
        expect_taught(self.terms, self.named_parameters(), has_weights)
        super().on_fit_start()
        if self.feature_cache is not None:
            use_cache(self.feature_cache, self.trainer, self.tower, self.adapter)

    def on_train_start(self) -> None:
        """Note the seed of the run; whatever the head knows is of another one."""
        self._random_seed = torch.initial_seed()
        self._prepared_at = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Weighted sum of the losses; None where there is none."""
        if not self.terms:
            return None
        # So that a resumed training drops the same units as one that was never interrupted.
        torch.manual_seed((self._random_seed + _STEPS_APART * self.global_step + batch_idx) % 2**63)
        features, prototypes, alignment = self._compare(batch)
        inputs = LossInputs(batch, features, prototypes, alignment)
        total = torch.zeros((), device=self.device)
        for loss in self.terms:
            value = loss(inputs)
            self.log(f"train/{loss.name}", value.detach(), batch_size=len(batch))
            total = total + loss.weight * value
        self.log("train/loss", total.detach(), batch_size=len(batch), prog_bar=True)
        return total

    def on_train_epoch_end(self) -> None:
        """After the last epoch, before checkpoints are written: prepare the head."""
        if self.trainer.fit_loop.done:
            self.prepare_head()

    def on_train_end(self) -> None:
        """Prepare the head where training stopped early."""
        self.prepare_head()

    def prepare_head(self) -> None:
        """Let the head observe the trainer's normal training images and validation images."""
        if self._prepared_at == self.global_step:
            return
        data = data_of(self.trainer)
        validation = data.calibration_dataloader if data.splits.validation else None
        self._is_trained = True
        # The precision of testing; outside steps, the trainer sets none.
        with self.trainer.precision_plugin.forward_context():
            self.observe(data.reference_dataloader, validation)
        self._prepared_at = self.global_step
