"""How many normal and anomalous items scored how much, in bounded memory whatever the scores are.

Bins lie where scores are, and are finest where rankings are sensitive: a bin that would hold too
much is split before more is counted. Scores need no known range, no second pass and no common
scale. Histograms of parts of a data set add up to that of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from clad.checks import expect_range
from clad.metrics.bin_splitting import Counts, loads_of, new_edges
from clad.metrics.counted_scores import count_scores
from clad.metrics.float_order import keys_of, scores_of
from clad.metrics.functional.binned import BinnedRanking

NUM_BINS = 8192
FEWEST_BINS = 256
NORMAL, ANOMALOUS, WEIGHT = 0, 1, 2
"""Rows of ``ScoreHistogram.counts``."""


def _whole_line() -> NDArray[np.float32]:
    return np.array([-np.inf], dtype=np.float32)


@dataclass
class ScoreHistogram:
    """Counts of scores by bin, with weights of the anomalous ones.

    A bin takes in scores from its lower end up to the next one's. Before scores are counted, bins
    that would hold too much of any of these are halved, until they hold no more or are one number
    wide: the normal scores, the anomalous scores, the scores as high or higher, the scores as low
    or lower. What such a bin held before is taken to lie evenly in it. Where there are too many
    bins, neighbours that hold little are joined.

    Args:
        num_bins: Most bins, at least 256; one takes 28 bytes.
        edges: (K,) float32 lower end of each bin, rising; the first is minus infinity.
        counts: (3, K) float64: normal scores, anomalous scores, weights of the anomalous ones.
        lowest: Smallest score seen.
        highest: Largest score seen.
    """

    num_bins: int = NUM_BINS
    edges: NDArray[np.float32] = field(
        default_factory=lambda: np.array([-np.inf], dtype=np.float32)
    )
    counts: Counts = field(default_factory=lambda: np.zeros((3, 1)))
    lowest: float = np.inf
    highest: float = -np.inf

    def __post_init__(self) -> None:
        expect_range("num_bins", self.num_bins, FEWEST_BINS, float("inf"))

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
        if not len(scores):
            return
        scores, anomalous = (np.ascontiguousarray(x, dtype=np.float32) for x in (scores, anomalous))
        lowest, highest = _ends(scores)
        if not np.isfinite(highest - lowest):
            raise ValueError(
                "expected finite scores, got NaN or infinity; look for a division by zero or an "
                "overflow in the head"
            )
        batch = count_scores(scores, anomalous, weights, (lowest, highest), self._most_load / 4)
        below = batch.below(self.edges)
        edges, below_edges = new_edges(self.edges, self.counts, below, batch, self._most_load)
        below = np.insert(below, np.searchsorted(self.edges, edges), below_edges, axis=1)
        self._split(edges)
        self.counts += np.diff(below, append=batch.totals)
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        self._bound()

    def merge(self, other: ScoreHistogram) -> None:
        """Take in what another one has counted."""
        theirs = np.setdiff1d(self.edges, other.edges, assume_unique=True)
        counts = _spread(other.edges, other.counts, theirs)
        self._split(np.setdiff1d(other.edges, self.edges, assume_unique=True))
        self.counts += counts
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)
        self._bound()

    def ranking(self) -> BinnedRanking:
        """The bins that hold something, by falling score."""
        kept = np.flatnonzero(self.counts[:2].any(axis=0))[::-1]
        normal, anomalous, weight = self.counts[:, kept]
        return BinnedRanking(normal, anomalous, weight, _widths(self.edges, kept) == 1)

    def quantile(self, share: float) -> float:
        """Score that about ``share`` of all scores lie below; NaN of none.

        Args:
            share: In [0, 1]; 0 is the smallest score, 1 the largest.
        """
        expect_range("share", share, 0, 1)
        held = np.cumsum(self.counts[:2].sum(axis=0))
        if not held[-1]:
            return float("nan")
        if share == 0:
            return self.lowest
        place = min(int(np.searchsorted(held, share * held[-1])), len(held) - 1)
        before = held[place - 1] if place else 0.0
        inside = (share * held[-1] - before) / (held[place] - before)
        bins = np.array([place])
        steps = (inside * (_widths(self.edges, bins) - 1)).astype(np.int64)
        value = float(scores_of(keys_of(self.edges[bins]) + steps)[0])
        return min(max(value, self.lowest), self.highest)

    def above(self, thresholds: NDArray[np.float64]) -> Counts:
        """(3, T) what lies above each threshold: normal, anomalous, weights.

        Inside a bin of several numbers, scores are taken to lie evenly.

        Args:
            thresholds: (T,) in any order.
        """
        ends = np.append(self.edges, np.inf).astype(np.float64)
        from_end = np.cumsum(self.counts[:, ::-1], axis=1)[:, ::-1]
        place = np.searchsorted(ends, thresholds, side="right") - 1
        low = np.maximum(ends[place], self.lowest)
        high = np.minimum(ends[place + 1], self.highest)
        is_single = _widths(self.edges, place) == 1
        width = np.where(is_single | (high <= low), np.inf, high - low)
        share = np.clip((high - thresholds) / width, 0, 1)
        return from_end[:, place] - (1 - share) * self.counts[:, place]

    @property
    def num_bytes(self) -> int:
        """Size of what it keeps."""
        return self.edges.nbytes + self.counts.nbytes

    def _split(self, edges: NDArray[np.float32]) -> None:
        """Go over to bins that have these edges, too."""
        if len(edges):
            self.counts = _spread(self.edges, self.counts, edges)
            self.edges = np.insert(self.edges, np.searchsorted(self.edges, edges), edges)

    def _bound(self) -> None:
        """Join neighbours that hold little until there are no more bins than allowed."""
        most = self._most_load / 2
        while len(self.edges) > self.num_bins:
            inside = self.counts[:2]
            totals = inside.sum(axis=1, keepdims=True)
            loads = loads_of(inside, totals - np.cumsum(inside, axis=1), totals)
            group = np.floor((np.cumsum(loads) - loads) / most)
            starts = np.append(True, (np.diff(group) > 0) | (loads[1:] > most / 2))
            self.counts = np.add.reduceat(self.counts, np.flatnonzero(starts), axis=1)
            self.edges = self.edges[starts]
            most *= 1.5

    @property
    def _most_load(self) -> float:
        """Of a bin before it is split. All loads add up to 4: this fills about half of the bins."""
        return 12 / self.num_bins


def _ends(scores: NDArray[np.float32]) -> tuple[float, float]:
    """Smallest and largest; NaN if a score is."""
    if not scores.flags.writeable:  # torch takes no such arrays
        return float(scores.min()), float(scores.max())
    lowest, highest = torch.aminmax(torch.from_numpy(scores))  # one pass, on all cores
    return float(lowest), float(highest)


def _spread(edges: NDArray[np.float32], counts: Counts, new: NDArray[np.float32]) -> Counts:
    """(3, K + N) the counts over the bins that further edges make, evenly over their numbers."""
    places = np.searchsorted(edges, new)
    parts = 1 + np.bincount(places - 1, minlength=len(edges))
    spread = np.repeat(counts, parts, axis=1)
    finer = np.insert(edges, places, new)
    whole, cut = np.flatnonzero(parts > 1), np.flatnonzero(np.repeat(parts, parts) > 1)
    spread[:, cut] *= _widths(finer, cut) / np.repeat(_widths(edges, whole), parts[whole])
    return spread


def _widths(edges: NDArray[np.float32], bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """(M,) float32 numbers that each of these bins takes in."""
    ends = np.append(edges, np.float32(np.inf))
    return keys_of(ends[bins + 1]) - keys_of(ends[bins])
