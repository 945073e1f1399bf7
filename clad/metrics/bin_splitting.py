"""Where bins have to be split before a batch of scores is counted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from clad.metrics.counted_scores import CountedScores
from clad.metrics.float_order import keys_of, roundest_between, scores_of

Counts = NDArray[np.float64]


def loads_of(inside: Counts, above: Counts, totals: Counts) -> NDArray[np.float64]:
    """(K,) how much each bin matters; of all bins about 4 together.

    It adds up what the bin holds as a share of the normal scores, twice that of the anomalous ones,
    which are fewer steps of every curve, and half of that of the scores as high or higher and of
    the scores as low or lower. The latter two make the ends of the ranking fine: at the top few
    scores decide on the precision, and scores yet to come may lie beyond either end.

    Args:
        inside: (2, K) normal and anomalous scores in each bin.
        above: (2, K) those in bins above it.
        totals: (2, 1) all of them.
    """
    num_normal, num_anomalous = totals.reshape(-1).tolist()
    total = num_normal + num_anomalous
    items, higher = inside[0] + inside[1], above[0] + above[1]
    ends = 1 / np.maximum(higher + items, 1) + 1 / np.maximum(total - higher, 1)
    # Over all bins, each of the two ends adds up to about the logarithm.
    loads: NDArray[np.float64] = (
        inside[0] / max(num_normal, 1)
        + inside[1] * (2 / max(num_anomalous, 1))
        + items * ends / (2 + 2 * math.log(max(total, 1)))
    )
    return loads


class _Bins:
    """Bins that are looked at for splitting.

    Args:
        rows: (10, M) keys of the lower and the upper end, then normal and anomalous scores of each
            of: what the bin holds; what of the batch lies below its lower end; below its upper end;
            what lies in bins above it. One array, because there are many steps on few bins.
    """

    def __init__(self, rows: Counts) -> None:
        self.rows = rows
        self.low, self.high = rows[0], rows[1]
        self.held, self.below_low, self.below_high, self.above = (
            rows[start : start + 2] for start in (2, 4, 6, 8)
        )

    def halves(self, middle: NDArray[np.int64], below_middle: Counts) -> _Bins:
        """The upper parts, then the lower ones; what was held is spread evenly."""
        number = len(middle)
        upper = self.held * ((self.high - middle) / (self.high - self.low))
        halves = _Bins(np.hstack([self.rows, self.rows]))
        halves.low[:number] = halves.high[number:] = middle
        halves.held[:, :number] = upper
        halves.held[:, number:] -= upper
        halves.below_low[:, :number] = halves.below_high[:, number:] = below_middle
        halves.above[:, number:] += upper + self.below_high - below_middle
        return halves

    def full(self, totals: Counts, most_load: float) -> _Bins:
        """Those to be split: new scores come, and they would hold two or more, and too much."""
        coming = self.below_high - self.below_low
        inside = self.held + coming
        is_full = loads_of(inside, self.above, totals) > most_load
        is_full &= inside[0] + inside[1] > 1.5
        is_full &= coming[0] + coming[1] > 0
        is_full &= self.high - self.low > 1
        return _Bins(self.rows[:, is_full])

    @property
    def middles(self) -> NDArray[np.int64]:
        """(M,) keys at which they are split."""
        return roundest_between(self.low.astype(np.int64), self.high.astype(np.int64))


def new_edges(
    edges: NDArray[np.float32],
    counts: Counts,
    below: Counts,
    batch: CountedScores,
    most_load: float,
) -> tuple[NDArray[np.float32], Counts]:
    """Edges that halve every bin that a batch makes too full, and the halves, until none is.

    Args:
        edges: (K,) lower ends of the bins.
        counts: (R, K) what they hold; rows 0 and 1 are the normal and the anomalous scores.
        below: (3, K) ``batch.below(edges)``.
        batch: The scores to come.
        most_load: Largest load of a bin that may be split.

    Returns:
        (N,) rising, and (3, N) the batch's scores below them.
    """
    below_high = np.hstack([below[:2, 1:], batch.totals[:2]])
    inside = counts[:2] + below_high - below[:2]
    totals = inside.sum(axis=1, keepdims=True)
    above = totals - np.cumsum(inside, axis=1)
    # Most bins are not full: only of these the keys are needed.
    heavy = np.flatnonzero(loads_of(inside, above, totals) > most_load)
    ends = np.append(edges, np.float32(np.inf))
    keys = (keys_of(ends[heavy]), keys_of(ends[heavy + 1]))
    held = (counts[:2, heavy], below[:2, heavy], below_high[:, heavy], above[:, heavy])
    bins = _Bins(np.vstack([*keys, *held])).full(totals, most_load)
    middles, found = [np.empty(0, dtype=np.int64)], [np.empty((3, 0))]
    while bins.rows.size:
        middle = bins.middles
        below_middle = batch.below(scores_of(middle))
        middles.append(middle)
        found.append(below_middle)
        bins = bins.halves(middle, below_middle[:2]).full(totals, most_load)
    all_middles = np.concatenate(middles)
    order = np.argsort(all_middles)
    return scores_of(all_middles[order]), np.hstack(found)[:, order]
