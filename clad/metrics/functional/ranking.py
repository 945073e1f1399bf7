"""The one sort behind all ranking metrics.

Every area and every maximum over thresholds changes only at the score of an anomalous item, so it
is enough to know, for each of them, how many normal items score higher and how many tie. Anomalous
pixels are few: the sort of the normal scores is the whole cost, and no curve is ever stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.metrics.functional.validate import Scores, checked_labels, checked_scores


@dataclass(frozen=True)
class Ranking:
    """The A anomalous items by falling score, each with its standing among the normal ones.

    Args:
        scores: (A,) float, falling.
        order: (A,) int64, position of each among the anomalous items as they were given.
        normals_above: (A,) int64, number of normal items with a larger score.
        normals_from: (A,) int64, number of normal items with a larger or equal score.
        num_normal: Number of normal items.
    """

    scores: Scores
    order: NDArray[np.int64]
    normals_above: NDArray[np.int64]
    normals_from: NDArray[np.int64]
    num_normal: int

    @property
    def num_anomalous(self) -> int:
        """Number of anomalous items."""
        return len(self.scores)

    @property
    def is_defined(self) -> bool:
        """Whether both kinds of item are there."""
        return self.num_anomalous > 0 and self.num_normal > 0

    def last_of_ties(self) -> NDArray[np.int64]:
        """(K,) int64 positions of the last item of each group of equal scores."""
        changes = np.flatnonzero(self.scores[1:] != self.scores[:-1])
        return np.append(changes, self.num_anomalous - 1).astype(np.int64)


def rank(scores: ArrayLike, labels: ArrayLike) -> Ranking:
    """Standing of the anomalous among the normal items.

    Args:
        scores: Any shape, float, finite; larger = more anomalous.
        labels: Same shape, bool or 0 and 1; 1 = anomalous.

    Raises:
        ValueError: If shapes differ, a score is not finite, or a label is neither 0 nor 1.
    """
    checked = checked_scores("scores", scores)
    is_anomalous = checked_labels("labels", labels, checked.shape)
    normal = checked[~is_anomalous]
    normal.sort()
    anomalous = checked[is_anomalous]
    order = np.argsort(anomalous)
    rising = anomalous[order]
    return Ranking(
        scores=rising[::-1],
        order=order[::-1],
        normals_above=len(normal) - np.searchsorted(normal, rising, side="right")[::-1],
        normals_from=len(normal) - np.searchsorted(normal, rising, side="left")[::-1],
        num_normal=len(normal),
    )
