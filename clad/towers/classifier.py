"""The classifier that image weights were trained with, where they bring one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from clad.types import ImageFeatures

Dense = Callable[[ImageFeatures], tuple[Tensor, tuple[int, int]]]


@dataclass(frozen=True)
class Classifier:
    """A linear layer from ``ImageFeatures.summary`` to logits of named classes.

    Args:
        labels: N names or descriptions, one per row.
        weight: (N, summary_dim) float.
        bias: (N,) float.
        dense: Features -> (B, P, summary_dim) states whose mean over the positions is the summary,
            and their grid; None where the trunk has none.
    """

    labels: tuple[str, ...]
    weight: Tensor
    bias: Tensor
    dense: Dense | None = None
