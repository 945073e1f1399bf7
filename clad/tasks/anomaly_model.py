"""The slots of a recipe wired to score images; no trainer, and no maths of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from clad.adapters.base import Adapter
from clad.alignment import align
from clad.checks import expect_range
from clad.explain.vocabulary import (
    DescribedPrediction,
    Ranking,
    describe_images,
    describe_regions,
)
from clad.heads.base import Head
from clad.inputs.base import InputTransform
from clad.losses.base import Loss
from clad.metrics.settings import STANDARD, MetricSettings
from clad.precision import full_precision
from clad.prompts.base import PromptStrategy
from clad.stopwatch import ENCODE, HEAD, WORDS
from clad.tasks.cache_settings import FeatureCache
from clad.tasks.encoding import encode_images
from clad.tasks.execution import EAGER, Execution, prepare_tower
from clad.tasks.learning_rates import LRSchedulerCallable, OptimizerCallable
from clad.tasks.level_thresholds import fit_level_thresholds
from clad.tasks.preparation import Batches, graph_for, predict_all, show_images
from clad.tasks.requirements import (
    comes_into_one_space,
    expect_learning,
    expect_text,
    expect_trained,
)
from clad.tasks.rethreshold import without_validation
from clad.tasks.stored_weights import StoredWeights
from clad.towers.base import Tower
from clad.tuning.base import Tuning
from clad.types import Alignment, Batch, ImageFeatures, Prediction, TextPrototypes


class AnomalyModel(StoredWeights):
    """Scores images with a head on features of a tower, beside words where the recipe has some.

    ``clad.tasks.anomaly_task.AnomalyTask`` is this under Lightning's trainer, of which nothing is
    imported here: that takes several times as long as torch does.

    Path of a batch: ``tower.prepare`` -> ``inputs`` -> ``tower.encode_pixels`` -> ``adapter`` ->
    comparison with the prototypes of ``prompts`` -> ``losses`` (training) or ``head`` (otherwise).

    Args:
        tower: Image and text encoders.
        head: Turns features and text logits into scores and maps.
        prompts: Class names -> text prototypes; None for recipes without words.
        adapter: Features -> features; None leaves them as the tower gives them.
        losses: Weighted terms of the objective; none trains nothing.
        tuning: Which tower weights learn; None keeps the tower frozen.
        inputs: What happens to normalised pixels before the tower; None for nothing.
        optimizer: Optimiser class and settings, over whatever learns; None takes AdamW.
        scheduler: Learning-rate schedule, stepped after every batch, or every epoch where it says
            so (``clad.tasks.warmup_cosine.WarmupCosine``); None keeps the rate.
        tower_learning_rate: Rate of the tower's own weights where they learn, > 0: pretrained ones
            bear less than new parts do; None gives them the optimiser's.
        temperature: What cosines are divided by, > 0 (0.07 in WinCLIP and AnomalyCLIP); None takes
            the adapter's learned multiplier or the tower's own.
        false_alarm_budget: Accepted share of false alarms among normal images, in (0, 1); the
            threshold of each category is fitted to it on normal validation images.
        metrics: How frames become videos, by which rule thresholds are fitted, and how scores
            become probabilities (docs/calibration.md).
        feature_cache: Where features of training and validation images are kept, so that a frozen
            tower encodes each once (docs/feature-cache.md); None encodes them in every epoch.
        initial_weights: Checkpoint of an earlier stage; training starts from those of its trained
            parts that this recipe has, too. None starts afresh.
        execution: How the image encoder runs: folded, compiled.
    """

    def __init__(
        self,
        tower: Tower,
        head: Head,
        prompts: PromptStrategy | None = None,
        adapter: Adapter | None = None,
        losses: list[Loss] | None = None,
        tuning: Tuning | None = None,
        inputs: InputTransform | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        tower_learning_rate: float | None = None,
        temperature: float | None = None,
        false_alarm_budget: float = 0.05,
        metrics: MetricSettings = STANDARD,
        feature_cache: FeatureCache | None = None,
        initial_weights: Path | None = None,
        execution: Execution = EAGER,
    ) -> None:
        super().__init__()
        expect_range("false_alarm_budget", false_alarm_budget, 1e-6, 1 - 1e-6)
        self.tower = tower
        self.head = head
        self.prompts = prompts
        self.adapter = adapter
        self.losses = nn.ModuleList(losses or [])
        self.inputs = inputs
        self.tuning = tuning
        # Not the default of the argument: its settings would stay when a recipe names another one.
        self.optimizer = optimizer or torch.optim.AdamW
        self.scheduler = scheduler
        self.tower_learning_rate = tower_learning_rate
        if temperature is not None:
            expect_range("temperature", temperature, 1e-4, 1e4)
        self.temperature = temperature
        self.false_alarm_budget = false_alarm_budget
        self.metrics = metrics
        self.feature_cache = feature_cache
        self.initial_weights = initial_weights
        self.execution = execution

    @property
    def device(self) -> torch.device:
        """Where it calculates."""
        return self.tower.mean.device

    def attach(self, class_names: tuple[str, ...]) -> None:
        """Create the parameters of every slot for these categories; the first call counts.

        Raises:
            ValueError: If the head or a loss needs text and the recipe cannot give it.
        """
        if self.class_names:
            return
        if self.tuning is not None:
            self.tuning.apply(self.tower)
        prepare_tower(self.tower, self.execution, self.tuning, self.head)
        expect_text(self.head, self.terms, self.tower, self.prompts, self.adapter)
        for part in (self.inputs, self.adapter, self.prompts, *self.terms):
            if part is not None:
                part.attach(self.tower)
        self.head.attach(self.tower, class_names)
        self.class_names = tuple(class_names)
        self.thresholds_fitted = without_validation(self.metrics, self.class_names)
        expect_learning(self.terms, self.parameters())

    @property
    def terms(self) -> list[Loss]:
        """Losses that are switched on."""
        return [loss for loss in self.losses if isinstance(loss, Loss) and loss.weight]

    def encode(self, batch: Batch) -> ImageFeatures:
        """Adapted features; without a graph through the tower where nothing in it learns."""
        features = batch.features
        if features is None:
            differentiates = self.head.needs_gradients and not self.training
            features = encode_images(batch.images, self.tower, self.inputs, differentiates)
        return features if self.adapter is None else self.adapter(features)

    def prototypes(self, batch: Batch, features: ImageFeatures) -> TextPrototypes | None:
        """Text prototypes of all categories of the run (or of the images), cached while frozen."""
        if self.prompts is None:
            return None
        return self._prototypes.get(self.prompts, self.class_names, self.tower, batch, features)

    def compare(
        self, features: ImageFeatures, prototypes: TextPrototypes | None, batch: Batch
    ) -> Alignment | None:
        """Text logits, or None where the recipe has no words or no shared space."""
        if prototypes is None or not features.is_aligned:
            return None
        learned = None if self.adapter is None else self.adapter.logit_scale
        scale = self.tower.logit_scale if learned is None else learned
        if self.temperature is not None:
            scale = 1 / self.temperature
        with full_precision(self.device):
            alignment = align(features, prototypes, batch.categories, scale)
            return alignment if self.adapter is None else self.adapter.refine(features, alignment)

    @property
    def has_shared_space(self) -> bool:
        """Whether image and text can be compared."""
        return comes_into_one_space(self.terms, self.tower, self.adapter)

    def predict_from(self, batch: Batch) -> tuple[Prediction, ImageFeatures, TextPrototypes | None]:
        """Scores and maps of a batch, at the size of its images, and what they were made from.

        Raises:
            ValueError: If the recipe learns, and was neither trained nor has read a checkpoint.
        """
        expect_trained(self._is_trained, self.terms)
        height, width = batch.masks.shape[-2:]
        with graph_for(self.head):
            features, prototypes, alignment = self._compare(batch)
            with self.watch(HEAD), full_precision(self.device):
                size = (height, width)
                prediction = self.head(features, alignment, batch.categories, size)
        if self.head.needs_gradients:
            return prediction.detach(), features.map(Tensor.detach), prototypes
        return prediction, features, prototypes

    def _compare(
        self, batch: Batch
    ) -> tuple[ImageFeatures, TextPrototypes | None, Alignment | None]:
        with self.watch(ENCODE):
            features = self.encode(batch)
        with self.watch(WORDS):
            prototypes = self.prototypes(batch, features)
            alignment = self.compare(features, prototypes, batch)
        with self.watch(HEAD):
            return features, prototypes, self.head.classify(features, alignment)

    def _look(self, batch: Batch) -> tuple[ImageFeatures, Alignment | None]:
        features, _, alignment = self._compare(batch)
        return features, alignment

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
            with self.watch(WORDS), full_precision(self.device):
                words = describe_images(features, bank, batch.categories)
                if maps is not None:
                    region_words = describe_regions(features, maps, bank, batch.categories)
        return DescribedPrediction(scores, maps, parts, words, region_words)

    def observe(self, references: Batches, validation: Batches | None) -> None:
        """Let the head observe normal images, then validation images, and fit thresholds.

        Args:
            references: Normal images; asked for only if the head needs them.
            validation: Images that scales and thresholds are fitted on; None leaves both.
        """
        was_training = self.training
        self.eval()
        with torch.no_grad():
            show_images(self.head, references, validation, self.encode, self._look, self.device)
            if validation is not None:
                found = predict_all(validation(), self, self.device)
                self.thresholds_fitted = fit_level_thresholds(
                    found, self.false_alarm_budget, self.metrics, self.class_names
                )
        self.train(was_training)
