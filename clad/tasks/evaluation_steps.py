"""The steps that only look: validation, testing and prediction of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from clad.explain.vocabulary import DescribedPrediction
from clad.metrics.calibrated import with_probabilities
from clad.metrics.collector import CollectedPredictions, PredictionCollector
from clad.metrics.evaluate import Evaluation, evaluate
from clad.metrics.naming import NamingAccuracy, naming_accuracy
from clad.metrics.one_threshold import with_one_threshold
from clad.metrics.settings import MetricSettings
from clad.stopwatch import METRICS, Watch
from clad.tasks.calibration import Thresholds
from clad.tasks.processes import of_all_processes
from clad.types import Batch


class EvaluationSteps(LightningModule, ABC):
    """Collects predictions and takes metrics over them; training is the subclass's matter."""

    metrics: MetricSettings
    thresholds_fitted: Thresholds
    watch: Watch

    def __init__(self) -> None:
        super().__init__()
        self.collected: CollectedPredictions | None = None
        self.evaluation: Evaluation | None = None
        self.naming: dict[str, NamingAccuracy] = {}
        self._collector = PredictionCollector()
        self._ranked_types: dict[str, list[list[str]]] = {}

    @abstractmethod
    def describe(self, batch: Batch) -> DescribedPrediction:
        """Scores, maps and words of a batch."""

    @property
    @abstractmethod
    def thresholds(self) -> dict[str, float] | None:
        """Category name -> threshold on raw scores; None where none could be fitted."""

    @abstractmethod
    def prepare_head(self) -> None:
        """Let the head observe what it needs, with the weights of this moment."""

    def on_validation_epoch_start(self) -> None:
        """Inside ``fit``, scores need a head prepared with the weights of this moment."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.prepare_head()
        self._collector = PredictionCollector(metrics=self.metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        del batch_idx
        if not self.trainer.sanity_checking:
            prediction = self(batch)
            with self.watch(METRICS):
                self._collector.update(prediction, batch)

    def on_validation_epoch_end(self) -> None:
        """Metrics over the validation images."""
        if len(self._collector):
            with self.watch(METRICS):
                self._evaluate("validation")

    def on_test_epoch_start(self) -> None:
        """Start from nothing."""
        self._collector = PredictionCollector(for_report=True, metrics=self.metrics)
        self._ranked_types.clear()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        del batch_idx
        prediction = self.describe(batch)
        with self.watch(METRICS):
            self._collector.update(prediction, batch)
        for level, rankings in (("image", prediction.words), ("region", prediction.region_words)):
            kinds = [[word.defect_type for word in ranking] for ranking in rankings]
            self._ranked_types.setdefault(level, []).extend(kinds)

    def on_test_epoch_end(self) -> None:
        """Metrics over the test images, and how often their words are right."""
        with self.watch(METRICS):
            self._evaluate("test")
        found = self.collected
        assert found is not None
        ranked: dict[str, list[list[str]]] = {}
        for each in of_all_processes(self._ranked_types):
            for level, kinds in each.items():
                ranked.setdefault(level, []).extend(kinds)
        self.naming = {
            level: naming_accuracy(kinds, found.defect_types, found.labels.tolist())
            for level, kinds in ranked.items()
            if kinds
        }

    def predict_step(self, batch: Batch, batch_idx: int) -> DescribedPrediction:
        """Scores, maps and words of a batch."""
        del batch_idx
        return self.describe(batch)

    def evaluate(self, collected: CollectedPredictions) -> Evaluation:
        """Metrics of predictions by this task's settings and thresholds."""
        levels = {name: each.values for name, each in self.thresholds_fitted.levels.items()}
        found = evaluate(collected, self.thresholds, self.metrics, levels)
        found = with_one_threshold(found, collected, self.thresholds_fitted.one_threshold)
        return with_probabilities(found, collected, self.thresholds_fitted.calibrations)

    def _evaluate(self, role: str) -> None:
        """Metrics over the images of all processes, in each of them."""
        processes = of_all_processes(self._collector)
        whole = next(processes)
        for each in processes:
            whole.merge(each)
        self._collector = PredictionCollector()
        self.collected = whole.result()
        self.evaluation = self.evaluate(self.collected)
        for name, value in self.evaluation.mean.items():
            self.log(f"{role}/{name}", value, batch_size=1, sync_dist=True)
