"""What a head sees between training and testing: normal references, then validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from clad.heads.base import Head
from clad.metrics.collector import CollectedPredictions, PredictionCollector
from clad.precision import full_precision
from clad.tasks.calibration import fewest_for_threshold, num_held_out
from clad.types import Alignment, Batch, ImageFeatures, Prediction


@contextmanager
def graph_for(head: Head) -> Iterator[None]:
    """Context in which a head that differentiates finds a graph, even in inference mode."""
    if not head.needs_gradients:
        yield
        return
    with torch.inference_mode(False), torch.enable_grad():
        yield


Batches = Callable[[], Iterable[Batch]]
"""Gives the same batches at each call."""


def show_images(
    head: Head,
    references: Batches,
    validation: Batches | None,
    encode: Callable[[Batch], ImageFeatures],
    look: Callable[[Batch], tuple[ImageFeatures, Alignment | None]],
    device: torch.device,
) -> None:
    """Let a head observe what it needs: normal training images, then validation images.

    Args:
        head: Learns from them.
        references: Normal images; asked for only if the head needs them.
        validation: Validation images; None if there are none.
        encode: Batch -> adapted features.
        look: Batch -> adapted features and their text logits.
        device: Where both run.
    """
    if head.needs_reference:
        head.start_reference()
        for batch in references():
            features = encode(batch.to(device))
            with full_precision(device):
                head.observe(features, batch.categories)
        with full_precision(device):
            head.finish_reference()
    if head.needs_validation and validation is not None:
        head.start_validation()
        for batch in validation():
            with graph_for(head):
                features, alignment = look(batch.to(device))
            labels = tuple(batch.labels.tolist())
            with full_precision(device):
                head.observe_validation(features, alignment, batch.categories, labels)
        with full_precision(device):
            head.finish_validation()


def predict_all(
    batches: Iterable[Batch], predict: Callable[[Batch], Prediction], device: torch.device
) -> CollectedPredictions | None:
    """Scores of every image of a loader with their truth, without maps; None if it is empty."""
    collector = PredictionCollector()
    for batch in batches:
        collector.update(replace(predict(batch.to(device)), maps=None), batch)
    return collector.result() if len(collector) else None


def num_held_out_beside(head: Head, count: int, budget: float) -> int:
    """How many of ``count`` normal images are kept from the head, to fit scales and a threshold.

    All of them where the head needs no references.

    Args:
        head: Says what it needs.
        count: Normal images at hand.
        budget: Accepted share of false alarms.

    Raises:
        ValueError: If none could be kept for a head that needs some.
    """
    if not head.needs_reference:
        return count
    kept = num_held_out(count, budget)
    if head.needs_validation and not kept:
        raise ValueError(
            f"expected at least {fewest_for_threshold(budget)} normal images, because the "
            f"scales of {type(head).__name__} are fitted on some, got {count}; add some, or "
            "use a head without scales (configs/recipes/few_shot.yaml)"
        )
    return kept
