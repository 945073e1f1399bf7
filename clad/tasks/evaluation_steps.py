"""The steps that only look: validation, testing and prediction of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from clad.metrics.collector import CollectedPredictions, PredictionCollector
from clad.metrics.evaluate import Evaluation, evaluate
from clad.tasks.calibration import NO_THRESHOLDS
from clad.types import Batch, Prediction


class EvaluationSteps(LightningModule, ABC):
    """Collects predictions and takes metrics over them; training is the subclass's matter."""

    def __init__(self) -> None:
        super().__init__()
        self.thresholds_fitted = NO_THRESHOLDS
        self.collected: CollectedPredictions | None = None
        self.evaluation: Evaluation | None = None
        self._collector = PredictionCollector()

    @abstractmethod
    def forward(self, batch: Batch) -> Prediction:
        """Scores and maps of a batch."""

    @abstractmethod
    def prepare_head(self) -> None:
        """Let the head observe what it needs, with the weights of this moment."""

    def on_validation_epoch_start(self) -> None:
        """Inside ``fit``, scores need a head prepared with the weights of this moment."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.prepare_head()
        self._collector.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        del batch_idx
        if not self.trainer.sanity_checking:
            self._collector.update(self(batch), batch)

    def on_validation_epoch_end(self) -> None:
        """Metrics over the validation images."""
        if len(self._collector):
            self._evaluate("validation")

    def on_test_epoch_start(self) -> None:
        """Start from nothing."""
        self._collector.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        del batch_idx
        self._collector.update(self(batch), batch)

    def on_test_epoch_end(self) -> None:
        """Metrics over the test images."""
        self._evaluate("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        """Scores and maps of a batch."""
        del batch_idx
        return self(batch)

    def _evaluate(self, role: str) -> None:
        self.collected = self._collector.result()
        self._collector.reset()
        self.evaluation = evaluate(self.collected, self.thresholds)
        for name, value in self.evaluation.mean.items():
            self.log(f"{role}/{name}", value, batch_size=1)

    @property
    def thresholds(self) -> dict[str, float] | None:
        """Category name -> threshold on raw scores; None where none could be fitted."""
        return dict(self.thresholds_fitted.values) or None

    @property
    def threshold_source(self) -> str:
        """What the thresholds were fitted on, in words."""
        return self.thresholds_fitted.source
