"""How much of a trained model's score is left when pictures are compressed, blurred or resized."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch.utils.data import DataLoader

from clad.data.dataset import collate
from clad.data.degrade import Degradation, list_degradations
from clad.data.degraded import DegradedDataset
from clad.data.images import Size
from clad.data.loading import choose_num_workers
from clad.metrics.collector import CollectedPredictions, PredictionCollector
from clad.metrics.evaluation import Evaluation
from clad.samples import Sample
from clad.tasks.anomaly_task import AnomalyTask

CLEAN = "clean"


@dataclass(frozen=True)
class RobustnessRow:
    """Metrics of all images after one degradation.

    Args:
        degradation: What happened to them; None is the images as they are stored.
        mean: Metric name -> mean over categories, as ``clad test`` takes it; NaN where undefined.
        undefined: One sentence per category and reason.
        seconds: Wall-clock time.
    """

    degradation: Degradation | None
    mean: Mapping[str, float]
    undefined: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def name(self) -> str:
        """``clean``, ``jpeg 75``, ``webp``."""
        return CLEAN if self.degradation is None else self.degradation.name

    def value(self, metric: str) -> float:
        """A metric; NaN where it was not taken."""
        return self.mean.get(metric, math.nan)


def measure_robustness(
    task: AnomalyTask,
    samples: Sequence[Sample],
    size: Size,
    degradations: Iterable[Degradation] | None = None,
    *,
    seed: int = 0,
    batch_size: int = 32,
    num_workers: int | None = None,
    tell: Callable[[RobustnessRow], None] | None = None,
) -> list[RobustnessRow]:
    """Metrics of the images as they are, then after each degradation.

    Real and fake are degraded alike, at their stored size, before they are resized to the model.
    The thresholds are those of the training: nothing is fitted anew.

    Args:
        task: With the weights it shall have, and attached to the samples' categories; where its
            weights lie is where everything is calculated, in single precision.
        samples: Test images, none of which was trained on.
        size: (height, width) that the recipe resizes images to.
        degradations: What happens to them; None takes every kind at every level.
        seed: Of the noise.
        batch_size: Images per batch.
        num_workers: Loader processes; None chooses.
        tell: Is told of each row as soon as it is there.

    Returns:
        One row per degradation, the clean one first.

    Raises:
        ValueError: If there are no samples, or an image cannot be read.
    """
    if not samples:
        raise ValueError("expected test images to degrade, got none; check the run's data")
    wanted = list_degradations() if degradations is None else list(degradations)
    rows = []
    for degradation in (None, *wanted):
        began = time.perf_counter()
        dataset = DegradedDataset(samples, size, degradation, seed)
        workers = choose_num_workers(num_workers, len(dataset))
        loader = DataLoader(dataset, batch_size, num_workers=workers, collate_fn=collate)
        found = task.evaluate(predict(task, loader))
        rows.append(_row(degradation, found, time.perf_counter() - began))
        if tell is not None:
            tell(rows[-1])
    return rows


def predict(task: AnomalyTask, loader: DataLoader) -> CollectedPredictions:
    """Predictions of all batches with their truth; the task is left as it was."""
    collector = PredictionCollector(metrics=task.metrics)
    was_training = task.training
    task.eval()
    with torch.inference_mode():
        for batch in loader:
            moved = batch.to(task.device)
            collector.update(task(moved), moved)
    task.train(was_training)
    return collector.result()


def largest_loss(rows: Sequence[RobustnessRow], metric: str) -> tuple[RobustnessRow, float] | None:
    """The degradation that costs most of a metric, and how much; None if it has no value.

    Args:
        rows: The clean one first.
        metric: Larger is better.
    """
    clean, *others = rows
    losses = [(row, clean.value(metric) - row.value(metric)) for row in others]
    defined = [each for each in losses if not math.isnan(each[1])]
    return max(defined, key=lambda each: each[1], default=None)


def _row(degradation: Degradation | None, found: Evaluation, seconds: float) -> RobustnessRow:
    return RobustnessRow(degradation, found.mean, found.undefined, seconds)
