"""How many normal and anomalous items scored how much, in bounded memory whatever the scores are.

Bins are intervals of the float32 numbers in their own order (as integers), of power-of-two width,
and lie where the scores do: a bin that holds too large a share is split before more is counted.
Scores need no known range, no second pass and no common scale; what lies in a bin of one number is
exact. Histograms of parts of a data set add up to that of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range
from clad.metrics.functional.binned import BinnedRanking

NUM_BINS = 65_536
FEWEST_BINS = 1024
NORMAL, ANOMALOUS, WEIGHT = 0, 1, 2
"""Rows of ``ScoreHistogram.counts``."""

_HALF_RANGE = 2**31
_FIRST_LEVEL = 23  # at first one bin per power of two, of either sign
_TABLE_LEVEL = 12  # a table finds bins at least as wide as 2**12 numbers at once
_FEWEST_IN_BIN = 4  # scores that tell a full bin from chance
_SAMPLED = 2**17  # scores of each kind that are looked at to place new bins
_CHUNK = 65_536  # keeps temporary arrays in the processor's cache


def _first_edges() -> NDArray[np.int64]:
    return np.arange(-_HALF_RANGE, _HALF_RANGE, 2**_FIRST_LEVEL)


@dataclass
class ScoreHistogram:
    """Counts of scores by bin, with weights of the anomalous ones.

    A bin is split before more than about 8 / ``num_bins`` of all normal and anomalous scores
    (their shares added) would lie in it, unless it is one number wide; what it already holds is
    spread evenly. Where there are too many bins, neighbours that hold little are joined.

    Args:
        num_bins: Most bins, at least 1024. 65,536 of them take 2.2 MB.
        edges: (K,) int64 lower end of each bin, rising, as ordered integer; see ``ordered_keys``.
        counts: (3, K) float64: normal scores, anomalous scores, weights of the anomalous ones.
        lowest: Smallest score seen.
        highest: Largest score seen.
    """

    num_bins: int = NUM_BINS
    edges: NDArray[np.int64] = field(default_factory=_first_edges)
    counts: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros((3, 2 ** (32 - _FIRST_LEVEL)))
    )
    lowest: float = np.inf
    highest: float = -np.inf

    def __post_init__(self) -> None:
        expect_range("num_bins", self.num_bins, FEWEST_BINS, float("inf"))
        self._table: _Table | None = None

    def update(
        self,
        scores: NDArray[np.float32],
        anomalous: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Count scores.

        Args:
            scores: Any shape, float32, finite.
            anomalous: Same shape, bool.
            weights: One per anomalous score, in the order of ``scores[anomalous]``; None for 1.
        """
        flat = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1)
        if not flat.size:
            return
        chosen = flat[np.ascontiguousarray(anomalous).reshape(-1)]
        self.lowest = min(self.lowest, float(flat.min()))
        self.highest = max(self.highest, float(flat.max()))
        coming = self._count(flat, chosen, weights)
        full = self._full(coming)
        if len(full):
            if len(self.edges) > self.num_bins // 2:
                self._join(coming)
                coming = self._count(flat, chosen, weights)
                full = self._full(coming)
            self._refine(full, coming, flat, chosen)
            coming = self._count(flat, chosen, weights)
        self.counts += coming

    def merge(self, other: ScoreHistogram) -> None:
        """Take in what another one has counted."""
        self._lay_out(np.union1d(self.edges, other.edges))
        self.counts += _spread(other.edges, other.counts, self.edges)
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)
        if len(self.edges) > self.num_bins:
            self._join(np.zeros_like(self.counts))

    def ranking(self) -> BinnedRanking:
        """The bins that hold something, by falling score."""
        kept = np.flatnonzero(self.counts[:2].any(axis=0))[::-1]
        normal, anomalous, weight = self.counts[:, kept]
        return BinnedRanking(normal, anomalous, weight, self.widths[kept] == 1)

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
        place = int(np.searchsorted(held, share * held[-1]))
        above = held[place] - share * held[-1]
        inside = 1 - above / (held[place] - (held[place - 1] if place else 0.0))
        key = self.edges[place] + int(inside * (self.widths[place] - 1))
        value = float(scores_of_keys(np.array([key]))[0])
        return min(max(value, self.lowest), self.highest)

    def lower_ends(self) -> NDArray[np.float32]:
        """(K,) lowest score of each bin, rising; NaN where no score can lie."""
        return scores_of_keys(self.edges)

    @property
    def widths(self) -> NDArray[np.int64]:
        """(K,) float32 numbers that each bin holds, powers of two."""
        return np.diff(self.edges, append=_HALF_RANGE)

    @property
    def num_bytes(self) -> int:
        """Size of what it keeps between updates."""
        table = 0 if self._table is None else self._table.num_bytes
        return self.edges.nbytes + self.counts.nbytes + table

    def _count(
        self,
        flat: NDArray[np.float32],
        chosen: NDArray[np.float32],
        weights: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:
        """(3, K) counts of these scores alone."""
        if self._table is None or not self._table.covers(self.lowest, self.highest):
            self._table = _Table(self.edges, self.lowest, self.highest)
        size = len(self.edges)
        found = np.zeros((3, size))
        for start in range(0, flat.size, _CHUNK):
            places = self._table.places(ordered_keys(flat[start : start + _CHUNK]))
            found[NORMAL] += np.bincount(places, minlength=size)
        if chosen.size:
            places = self._table.places(ordered_keys(chosen))
            found[ANOMALOUS] = np.bincount(places, minlength=size)
            found[NORMAL] -= found[ANOMALOUS]
            found[WEIGHT] = found[ANOMALOUS]
            if weights is not None:
                found[WEIGHT] = np.bincount(places, weights, minlength=size)
        return found

    @property
    def _fair_share(self) -> float:
        return 4 / self.num_bins

    def _totals(self, coming: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 1) normal and anomalous scores, these counts taken in."""
        totals = self.counts[:2].sum(axis=1) + coming[:2].sum(axis=1)
        return np.maximum(totals, 1)[:, None]

    def _full(self, coming: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bins that will hold too much if these counts come in."""
        busy = np.flatnonzero((coming[:2] >= _FEWEST_IN_BIN).any(axis=0))
        held = self.counts[:2, busy] + coming[:2, busy]
        shares = (held / self._totals(coming)).sum(axis=0)
        return busy[(shares > 2 * self._fair_share) & (self.widths[busy] > 1)]

    def _refine(
        self,
        full: NDArray[np.int64],
        coming: NDArray[np.float64],
        flat: NDArray[np.float32],
        chosen: NDArray[np.float32],
    ) -> None:
        """Split these bins until none is too full; samples of the scores say where they lie."""
        totals = self._totals(coming)
        samples = []
        for values, total in zip((flat, chosen), totals[:, 0], strict=True):
            step = max(1, values.size // _SAMPLED)
            samples.append((np.sort(ordered_keys(values[::step])), step / total))
        edges, widths = self.edges[full], self.widths[full]
        earlier = (self.counts[:2, full] / totals).sum(axis=0)
        found = [edges[:0]]
        room = self.num_bins - len(self.edges)
        while len(edges):
            shares, most = earlier.copy(), np.zeros(len(edges), dtype=np.int64)
            for keys, share in samples:
                inside = np.searchsorted(keys, edges + widths) - np.searchsorted(keys, edges)
                shares += inside * share
                most = np.maximum(most, inside)
            is_full = (shares > self._fair_share) & (widths > 1) & (most >= _FEWEST_IN_BIN)
            room -= int(is_full.sum())
            if room < 0:
                break
            halves = widths[is_full] // 2
            middles = edges[is_full] + halves
            found.append(middles)
            edges = np.concatenate([edges[is_full], middles])
            widths = np.concatenate([halves, halves])
            earlier = np.tile(earlier[is_full] / 2, 2)
        self._lay_out(np.union1d(self.edges, np.concatenate(found)))

    def _join(self, coming: NDArray[np.float64]) -> None:
        """Join neighbours that hold little, with these counts taken in."""
        shares = ((self.counts[:2] + coming[:2]) / self._totals(coming)).sum(axis=0)
        for level in range(_FIRST_LEVEL):
            is_half = self.widths == 2**level
            first = is_half[:-1] & is_half[1:] & (self.edges[:-1] % 2 ** (level + 1) == 0)
            little = shares[:-1] + shares[1:] < self._fair_share / 2
            starts = np.delete(np.arange(len(self.edges)), np.flatnonzero(first & little) + 1)
            self.counts = np.add.reduceat(self.counts, starts, axis=1)
            shares = np.add.reduceat(shares, starts)
            self.edges = self.edges[starts]
        self._table = None

    def _lay_out(self, finer: NDArray[np.int64]) -> None:
        """Go over to bins that keep all edges and have more."""
        if len(finer) != len(self.edges):
            self.counts = _spread(self.edges, self.counts, finer)
            self.edges = finer
            self._table = None


class _Table:
    """Finds the bins of scores: by a table of the keys' upper bits, by bisection in narrow bins."""

    def __init__(self, edges: NDArray[np.int64], lowest: float, highest: float) -> None:
        ends = ordered_keys(np.array([lowest, highest], dtype=np.float32)).astype(np.int64)
        first, last = (int(end) >> _TABLE_LEVEL for end in ends)
        cells = edges >> _TABLE_LEVEL
        starts = np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))
        is_narrow = np.diff(starts, append=len(edges)) > 1
        values = np.where(is_narrow, -1, starts).astype(np.int32)
        # Each value fills the cells up to the next one; of those only the range that is asked for.
        begins = np.clip(cells[starts], first, last + 1)
        self._bins = np.repeat(values, np.diff(begins, append=last + 1))
        self._edges = edges.astype(np.int32)
        self._first, self._range = np.int32(first), (lowest, highest)
        self._has_narrow = bool(is_narrow.any())

    def covers(self, lowest: float, highest: float) -> bool:
        """Whether scores of this range can be looked up."""
        return self._range[0] <= lowest and highest <= self._range[1]

    @property
    def num_bytes(self) -> int:
        """Size in memory."""
        return self._bins.nbytes + self._edges.nbytes

    def places(self, keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """(N,) number of the bin of each key."""
        found: NDArray[np.int32] = self._bins[(keys >> _TABLE_LEVEL) - self._first]
        if self._has_narrow:
            narrow = np.flatnonzero(found < 0)
            if len(narrow):
                found[narrow] = np.searchsorted(self._edges, keys[narrow], side="right") - 1
        return found


def ordered_keys(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """(N,) int32 in the order of the scores, without gaps; -0 and 0 are the same."""
    bits = (scores + np.float32(0)).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def scores_of_keys(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N,) float32; undoes ``ordered_keys``."""
    bits = keys.astype(np.int32)
    return (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)


def _spread(
    edges: NDArray[np.int64], counts: NDArray[np.float64], finer: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(3, F) the counts evenly over finer bins, which keep all edges."""
    parent = np.searchsorted(edges, finer, side="right") - 1
    widths = np.diff(edges, append=_HALF_RANGE)
    spread: NDArray[np.float64] = counts[:, parent] * (
        np.diff(finer, append=_HALF_RANGE) / widths[parent]
    )
    return spread
