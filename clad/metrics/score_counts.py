"""Scores of pixels as they are while they are few, as a histogram from then on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range
from clad.metrics.bin_splitting import Counts
from clad.metrics.functional.binned import BinnedRanking
from clad.metrics.histogram import ANOMALOUS, NORMAL, NUM_BINS, WEIGHT, ScoreHistogram

MOST_KEPT = 65_536
"""Scores that are kept as they are: one map of 256 x 256 pixels, in at most a megabyte."""


@dataclass(frozen=True)
class _Few:
    """Scores as they came.

    Args:
        scores: (N,) float32, all of them.
        anomalous: (A,) float32, the anomalous ones among them.
        weights: (A,) float64.
    """

    scores: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    anomalous: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def joined(self, other: _Few) -> _Few:
        return _Few(
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.anomalous, other.anomalous]),
            np.concatenate([self.weights, other.weights]),
        )

    def levels(self) -> tuple[NDArray[np.float32], Counts]:
        """(K,) scores, rising, and (3, K) what is at each."""
        levels, found = np.unique(self.scores, return_counts=True)
        places, size = np.searchsorted(levels, self.anomalous), len(levels)
        counts = np.zeros((3, size))
        counts[ANOMALOUS] = np.bincount(places, minlength=size)
        counts[NORMAL] = found - counts[ANOMALOUS]
        counts[WEIGHT] = np.bincount(places, self.weights, minlength=size)
        return levels, counts


class ScoreCounts:
    """Normal and anomalous scores of which rankings are taken; the weights of the anomalous ones.

    Up to ``MOST_KEPT`` scores are kept, and what is taken of them is exact; the next ones turn them
    into a ``ScoreHistogram``.

    Args:
        num_bins: Most bins of the histogram, at least 256.
    """

    def __init__(self, num_bins: int = NUM_BINS) -> None:
        self.num_bins = num_bins
        self._few: _Few | None = _Few()
        self._histogram = ScoreHistogram(num_bins)

    def count(
        self,
        scores: NDArray[np.float32],
        anomalous: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Count scores.

        Args:
            scores: (N,) float32, all of them, finite.
            anomalous: (A,) float32, the anomalous ones among them.
            weights: (A,) of the anomalous ones; None for 1.

        Raises:
            ValueError: If a score is not finite.
        """
        if self._few is None or len(self._few.scores) + len(scores) > MOST_KEPT:
            self._settle()
            self._histogram.count(scores, anomalous, weights)
            return
        if not np.isfinite(scores).all():
            self._histogram.count(scores, anomalous, weights)  # refuses them
        given = np.ones(len(anomalous)) if weights is None else weights
        # Minus zero is zero, or one score would have two levels.
        self._few = self._few.joined(_Few(scores + np.float32(0), anomalous + np.float32(0), given))

    def merge(self, other: ScoreCounts) -> None:
        """Take in what another one has counted."""
        few = other._few
        if few is not None:
            self.count(few.scores, few.anomalous, few.weights)
            return
        self._settle()
        self._histogram.merge(other._histogram)

    def ranking(self) -> BinnedRanking:
        """Levels or bins that hold something, by falling score."""
        if self._few is None:
            return self._histogram.ranking()
        levels, counts = self._few.levels()
        normal, anomalous, weight = counts[:, ::-1]
        return BinnedRanking(normal, anomalous, weight, np.ones(len(levels), dtype=bool))

    def quantile(self, share: float) -> float:
        """Score that about ``share`` of all scores lie below; NaN of none.

        Args:
            share: In [0, 1]; 0 is the smallest score, 1 the largest.
        """
        if self._few is None:
            return self._histogram.quantile(share)
        expect_range("share", share, 0, 1)
        scores = self._few.scores
        return float(np.quantile(scores, share)) if len(scores) else float("nan")

    def above(self, thresholds: NDArray[np.float64]) -> Counts:
        """(3, T) what lies above each threshold: normal, anomalous, weights.

        Args:
            thresholds: (T,) in any order.
        """
        if self._few is None:
            return self._histogram.above(thresholds)
        levels, counts = self._few.levels()
        from_end = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
        places = np.searchsorted(levels, thresholds, side="right")
        found: Counts = np.pad(from_end, ((0, 0), (0, 1)))[:, places]
        return found

    @property
    def totals(self) -> NDArray[np.float64]:
        """(3,) normal scores, anomalous scores, weights."""
        few = self._few
        if few is None:
            return self._histogram.counts.sum(axis=1)
        num_normal = len(few.scores) - len(few.anomalous)
        return np.array([num_normal, len(few.anomalous), few.weights.sum()])

    @property
    def lowest(self) -> float:
        """Smallest score; infinity of none."""
        if self._few is None:
            return self._histogram.lowest
        return float(self._few.scores.min(initial=np.inf))

    @property
    def highest(self) -> float:
        """Largest score; minus infinity of none."""
        if self._few is None:
            return self._histogram.highest
        return float(self._few.scores.max(initial=-np.inf))

    @property
    def num_bytes(self) -> int:
        """Size of what it keeps."""
        few = self._few
        if few is None:
            return self._histogram.num_bytes
        return few.scores.nbytes + few.anomalous.nbytes + few.weights.nbytes

    def _settle(self) -> None:
        """Go over to the histogram for good."""
        few, self._few = self._few, None
        if few is not None:
            self._histogram.count(few.scores, few.anomalous, few.weights)
