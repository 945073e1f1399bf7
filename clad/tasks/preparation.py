"""What a head sees between training and testing: normal references, then validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor

from clad.data.datamodule import AnomalyDataModule
from clad.heads.base import Head
from clad.types import Alignment, Batch, ImageFeatures, Prediction

Encode = Callable[[Tensor], ImageFeatures]
"""(B, 3, H, W) images -> adapted features."""

Look = Callable[[Batch], tuple[ImageFeatures, Alignment | None]]
"""Batch -> adapted features and their text logits."""


def observe_reference(
    head: Head, batches: Iterable[Batch], encode: Encode, device: torch.device
) -> None:
    """Show the head normal training images."""
    head.start_reference()
    for batch in batches:
        head.observe(encode(batch.images.to(device)), batch.categories)
    head.finish_reference()


def observe_validation(
    head: Head, batches: Iterable[Batch], look: Look, device: torch.device
) -> None:
    """Show the head validation images with their labels."""
    head.start_validation()
    for batch in batches:
        features, alignment = look(batch.to(device))
        labels = tuple(batch.labels.tolist())
        head.observe_validation(features, alignment, batch.categories, labels)
    head.finish_validation()


def predict_all(
    batches: Iterable[Batch], predict: Callable[[Batch], Prediction], device: torch.device
) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]:
    """Scores, labels and categories of every image of a loader."""
    scores: list[NDArray[np.float64]] = [np.empty(0)]
    labels: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    categories: list[str] = []
    for batch in batches:
        prediction = predict(batch.to(device))
        scores.append(prediction.scores.double().cpu().numpy())
        labels.append(batch.labels.cpu().numpy())
        categories += batch.categories
    return np.concatenate(scores), np.concatenate(labels), tuple(categories)


def data_of(trainer: Trainer) -> AnomalyDataModule:
    """The trainer's data.

    Raises:
        TypeError: If it is no data module of ours, which knows references and categories.
    """
    data = trainer.datamodule
    if not isinstance(data, AnomalyDataModule):
        raise TypeError(
            f"expected an AnomalyDataModule as the trainer's data, got {type(data).__name__}; "
            "pass one as `datamodule`"
        )
    return data
