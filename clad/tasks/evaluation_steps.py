"""The steps that only look: validation, testing and prediction of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from clad.explain.vocabulary import (
    DescribedPrediction,
    Ranking,
    describe_images,
    describe_regions,
)
from clad.metrics.calibrated import with_probabilities
from clad.metrics.collector import CollectedPredictions, PredictionCollector
from clad.metrics.evaluate import Evaluation, evaluate
from clad.metrics.naming import NamingAccuracy, naming_accuracy
from clad.metrics.one_threshold import with_one_threshold
from clad.metrics.settings import STANDARD
from clad.stopwatch import METRICS, WORDS, Watch, unwatched
from clad.tasks.calibration import NO_THRESHOLDS
from clad.types import Batch, ImageFeatures, Prediction, TextPrototypes


class EvaluationSteps(LightningModule, ABC):
    """Collects predictions and takes metrics over them; training is the subclass's matter."""

    def __init__(self) -> None:
        super().__init__()
        self.thresholds_fitted = NO_THRESHOLDS
        self.metrics = STANDARD
        self.false_alarm_budget = 0.05
        self.collected: CollectedPredictions | None = None
        self.evaluation: Evaluation | None = None
        self.naming: dict[str, NamingAccuracy] = {}
        self.watch: Watch = unwatched
        self._collector = PredictionCollector()
        self._ranked_types: dict[str, list[list[str]]] = {}

    @abstractmethod
    def predict_from(self, batch: Batch) -> tuple[Prediction, ImageFeatures, TextPrototypes | None]:
        """Scores and maps of a batch, and the features and prototypes they were made from."""

    @property
    @abstractmethod
    def has_shared_space(self) -> bool:
        """Whether image and text can be compared."""

    def forward(self, batch: Batch) -> Prediction:
        """Scores and maps of a batch, at the size of its images."""
        return self.predict_from(batch)[0]

    def describe(self, batch: Batch) -> DescribedPrediction:
        """``forward``, with ranked descriptions of defects where the recipe has them."""
        prediction, features, prototypes = self.predict_from(batch)
        bank = None if prototypes is None else prototypes.bank
        words: tuple[Ranking, ...] = ()
        region_words: tuple[Ranking, ...] = ()
        scores, maps, parts = prediction.scores, prediction.maps, prediction.parts
        if bank is not None and features.is_aligned and self.has_shared_space:
            with self.watch(WORDS):
                words = describe_images(features, bank, batch.categories)
                if maps is not None:
                    region_words = describe_regions(features, maps, bank, batch.categories)
        return DescribedPrediction(scores, maps, parts, words, region_words)

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
        self._collector.reset()
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
        self.naming = {
            level: naming_accuracy(kinds, found.defect_types, found.labels.tolist())
            for level, kinds in self._ranked_types.items()
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
        self.collected = self._collector.result()
        self._collector.reset()
        self.evaluation = self.evaluate(self.collected)
        for name, value in self.evaluation.mean.items():
            self.log(f"{role}/{name}", value, batch_size=1)

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
