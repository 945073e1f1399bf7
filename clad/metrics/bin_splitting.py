"""Where bins have to be split before a batch of scores is counted."""

from __future__ import annotations

from typing import NamedTuple

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
    total, items, higher = totals.sum(), inside[0] + inside[1], above[0] + above[1]
    of_normal, of_anomalous = inside / np.maximum(totals, 1)
    of_ends = items / np.maximum(higher + items, 1) + items / np.maximum(total - higher, 1)
    # Over all bins, each of the two ends adds up to about the logarithm.
    loads: NDArray[np.float64] = (
        of_normal + 2 * of_anomalous + of_ends / (2 + 2 * np.log(max(total, 1)))
    )
    return loads


class _Bins(NamedTuple):
    """Bins that are looked at for splitting.

    ``low`` and ``high``: (M,) keys of their ends. The others (2, M), normal and anomalous scores:
    ``held`` before the batch, of the batch ``below_low`` and ``below_high``, of all in the bins
    ``above``.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    held: Counts
    below_low: Counts
    below_high: Counts
    above: Counts

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> _Bins:
        return _Bins(
            self.low[chosen],
            self.high[chosen],
            self.held[:, chosen],
            self.below_low[:, chosen],
            self.below_high[:, chosen],
            self.above[:, chosen],
        )

    def halves(self, middle: NDArray[np.int64], below_middle: Counts) -> _Bins:
        """The upper parts, then the lower ones; what was held is spread evenly."""
        upper = self.held * ((self.high - middle) / (self.high - self.low))
        above_lower = self.above + upper + self.below_high - below_middle
        return _Bins(
            np.append(middle, self.low),
            np.append(self.high, middle),
            np.hstack([upper, self.held - upper]),
            np.hstack([below_middle, self.below_low]),
            np.hstack([self.below_high, below_middle]),
            np.hstack([self.above, above_lower]),
        )

    def is_full(self, totals: Counts, most_load: float) -> NDArray[np.bool_]:
        """Whether each should be split: new scores come, and it would hold two or too much."""
        coming = self.below_high - self.below_low
        inside = self.held + coming
        heavy = loads_of(inside, self.above, totals) > most_load
        can_split = (self.high - self.low > 1) & (inside[0] + inside[1] > 1.5)
        return heavy & can_split & coming.any(axis=0)


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
    bins = _Bins(
        keys_of(ends[heavy]),
        keys_of(ends[heavy + 1]),
        counts[:2, heavy],
        below[:2, heavy],
        below_high[:, heavy],
        above[:, heavy],
    )
    middles, found = [np.empty(0, dtype=np.int64)], [np.empty((3, 0))]
    while len((bins := bins.where(bins.is_full(totals, most_load))).low):
        middles.append(roundest_between(bins.low, bins.high))
        found.append(batch.below(scores_of(middles[-1])))
        bins = bins.halves(middles[-1], found[-1][:2])
    keys = np.concatenate(middles)
    order = np.argsort(keys)
    return scores_of(keys[order]), np.hstack(found)[:, order]
