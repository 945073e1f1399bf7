"""Predictions that keep all their maps and masks, for tests that compare with what metrics keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions, PredictionCollector
from clad.types import Batch, Prediction


@dataclass(frozen=True)
class Stored(CollectedPredictions):
    """Predictions with what the collector does not keep.

    Args:
        maps: (N, H, W) float32, or None.
        masks: (N, H, W) bool.
    """

    maps: NDArray[np.float32] | None = None
    masks: NDArray[np.bool_] | None = None

    def collector(
        self, rows: range | None = None, batch_size: int = 16, for_report: bool = True
    ) -> PredictionCollector:
        """One that has seen these rows, all by default, batch by batch."""
        collector = PredictionCollector(for_report)
        order = list(rows or range(len(self)))
        for start in range(0, len(order), batch_size):
            collector.update(*self._batch(order[start : start + batch_size]))
        return collector

    def collected(self, for_report: bool = True) -> CollectedPredictions:
        """What a test would leave of these predictions."""
        return self.collector(for_report=for_report).result()

    def _batch(self, rows: list[int]) -> tuple[Prediction, Batch]:
        size = len(rows)
        maps = None if self.maps is None else torch.from_numpy(self.maps[rows])
        masks = np.zeros((size, 1, 1), bool) if self.masks is None else self.masks[rows]
        parts = {name: torch.from_numpy(values[rows]) for name, values in self.parts.items()}

        def some(values: tuple) -> tuple:
            return tuple(values[row] for row in rows) if values else ()

        batch = Batch(
            images=torch.zeros(size, 3, 1, 1, dtype=torch.uint8),
            labels=torch.from_numpy(self.labels[rows]).long(),
            masks=torch.from_numpy(masks),
            has_mask=torch.from_numpy(self.has_mask[rows]),
            categories=some(self.categories),
            defect_types=some(self.defect_types),
            paths=some(self.paths),
            domains=some(self.domains),
            origins=some(self.origins),
            groups=some(self.groups),
        )
        return Prediction(torch.from_numpy(self.scores[rows]), maps, parts), batch
