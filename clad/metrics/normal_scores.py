"""Scores of normal validation images, as few as can be kept, and where a new score lies in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FEWEST_NORMALS = 5
"""Below this many normal images, a quantile says next to nothing."""
MOST_KEPT = 1000
"""Scores kept of a category; a checkpoint holds 8 KB of them at most."""
_ROUNDING = 1e-9
"""Keeps a product such as 10 x 0.3 from falling short of the integer it is."""


@dataclass(frozen=True)
class NormalScores:
    """Order statistics of normal scores: all, or evenly spaced ones with both extremes.

    Between two that are kept, the larger number of alarms is assumed, so that no promise breaks;
    it is then off by a thousandth of the images at most.

    Args:
        values: Rising.
        count: How many scores they stand for.
    """

    values: tuple[float, ...]
    count: int

    @classmethod
    def of(cls, scores: NDArray[np.float64], most: int | None = MOST_KEPT) -> NormalScores:
        """Those of (N,) scores in any order, N at least 1; ``most`` None keeps all."""
        rising = np.sort(np.asarray(scores, dtype=np.float64))
        kept = len(rising) if most is None else min(most, len(rising))
        return cls(tuple(rising[_ranks(len(rising), kept)].tolist()), len(rising))

    @cached_property
    def _sorted(self) -> NDArray[np.float64]:
        return np.array(self.values)

    @cached_property
    def _ranks(self) -> NDArray[np.int64]:
        return _ranks(self.count, len(self.values))

    def num_at_or_above(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,) how many normal scores are at least as large; at most so many if not all are kept.

        Args:
            scores: (N,) raw.
        """
        below = np.searchsorted(self._sorted, scores, side="left")
        last_below = np.append(-1, self._ranks)[below]
        return self.count - 1 - last_below

    def percentile(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) in [0, 100]: so many percent of the normal images score lower."""
        return 100 * (self.count - self.num_at_or_above(scores)) / self.count

    def false_alarms_per_1000(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) at most so many of 1,000 new normal images are expected to score as high or higher.

        ``1000 (k + 1) / (n + 1)`` with k of n normal images at or above the score: a conformal
        p-value times 1,000. It holds on average over validation sets, if new normal images come as
        those did, and is never below ``resolution``.

        Source: Vovk et al., Algorithmic learning in a random world (2005), p-values.
        """
        return 1000 * (self.num_at_or_above(scores) + 1) / (self.count + 1)

    @property
    def resolution(self) -> float:
        """Expected false alarms per 1,000 of a score that no normal image reaches: not more."""
        return 1000 / (self.count + 1)

    def threshold(self, false_alarm_budget: float) -> float:
        """One step above the lowest kept score of rank ``ceil((n + 1)(1 - budget))`` or above.

        With fewer than ``1 / budget - 1`` scores, one step above the largest.
        """
        above = max(math.floor((self.count + 1) * false_alarm_budget + _ROUNDING), 1)
        place = int(np.searchsorted(self._ranks, self.count - above, side="left"))
        return _step_above(self.values[place])


def _ranks(count: int, kept: int) -> NDArray[np.int64]:
    """(kept,) evenly spaced from 0 to count - 1, in whole numbers, so the same everywhere."""
    if kept == count:
        return np.arange(count)
    return (np.arange(kept) * (count - 1) + (kept - 1) // 2) // (kept - 1)


def _step_above(score: float) -> float:
    """The next float32: scores are float32, and some readers compare in that precision."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))
