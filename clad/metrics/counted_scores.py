"""A batch of scores: how many of each kind lie below any number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NUM_CELLS = 2**15
_FEWEST_FOR_CELLS = 2**18  # fewer scores are sorted as fast
_CHUNK = 2**16  # keeps temporary arrays in the processor's cache
_ONES = torch.from_numpy(np.ones(_CHUNK, dtype=np.int32))
_FEW = 8  # scores of a kind that may share a cell whatever their share
_EXACT = 2.0**24  # up to here float32 holds every whole number


class CountedScores(Protocol):
    """Normal scores, anomalous scores and the weights of the latter, rows 0 to 2 of all arrays."""

    totals: Floats
    """(3, 1) all of each."""

    def below(self, edges: NDArray[np.float32]) -> Floats:
        """(3, E) what lies below each edge."""


def count_scores(
    scores: NDArray[np.float32],
    anomalous: NDArray[np.float32],
    weights: Floats | None,
    ends: tuple[float, float],
    most_share: float,
) -> CountedScores:
    """The fastest way to count a batch.

    Args:
        scores: (N,) all scores, finite.
        anomalous: (A,) those of them that are anomalous.
        weights: (A,) or None for 1.
        ends: The smallest and the largest score.
        most_share: Share of the scores of a kind that need not be told apart where they lie
            very close together.
    """
    if len(scores) >= _FEWEST_FOR_CELLS:
        grid = GriddedScores.of(scores, anomalous, weights, ends, most_share)
        if grid is not None:
            return grid
    return SortedScores(scores, anomalous, weights)


class SortedScores:
    """Exact for every edge.

    Args:
        scores: (N,) all scores, finite.
        anomalous: (A,) those of them that are anomalous.
        weights: (A,) or None for 1.
    """

    def __init__(
        self,
        scores: NDArray[np.float32],
        anomalous: NDArray[np.float32],
        weights: Floats | None = None,
    ) -> None:
        self._all = np.sort(scores)
        order = np.argsort(anomalous)
        self._anomalous = anomalous[order]
        self._weight = np.arange(len(order) + 1.0)
        if weights is not None:
            self._weight[1:] = np.cumsum(weights[order])
        self.totals = np.array(
            [[len(scores) - len(anomalous)], [len(anomalous)], [self._weight[-1]]], dtype=float
        )

    def below(self, edges: NDArray[np.float32]) -> Floats:
        """(3, E) what lies below each edge."""
        anomalous = np.searchsorted(self._anomalous, edges)
        of_all = np.searchsorted(self._all, edges)
        return np.stack([of_all - anomalous, anomalous, self._weight[anomalous]])


class GriddedScores:
    """Exact at the ends of equal cells; within a cell, scores are taken to lie evenly.

    Args:
        cumulated: (3, C + 2) what lies below each end of a cell, and all once more.
        first: Lower end of the first cell.
        per_unit: Cells per 1 of score, a power of two: ends and cells of scores are exact.
    """

    def __init__(self, cumulated: Floats, first: float, per_unit: float) -> None:
        self._cumulated, self._first, self._per_unit = cumulated, first, per_unit
        self.totals = cumulated[:, -1:]

    @classmethod
    def of(
        cls,
        scores: NDArray[np.float32],
        anomalous: NDArray[np.float32],
        weights: Floats | None,
        ends: tuple[float, float],
        most_share: float,
    ) -> GriddedScores | None:
        """Counted in at most 32,768 cells; None where one holds too much."""
        lowest, highest = ends
        largest = max(abs(lowest), abs(highest))
        if not lowest < highest:
            return None
        per_unit = 2.0 ** np.floor(np.log2((NUM_CELLS - 2) / (highest - lowest)))
        if not 2.0**-64 < per_unit < 2.0**64 or largest * per_unit >= _EXACT:
            return None
        first = np.floor(lowest * per_unit)
        num_cells = int(np.floor(highest * per_unit) - first) + 1
        grid = (float(first), float(per_unit), num_cells)
        of_all = _cell_counts(scores, *grid, max(_FEW, most_share * len(scores)))
        of_anomalous = _cell_counts(anomalous, *grid, max(_FEW, most_share * len(anomalous)))
        # Where a ranking begins and ends, the order of few scores matters.
        if of_all is None or of_anomalous is None or max(of_all[[0, -1]]) > _FEW:
            return None
        of_weights = np.zeros(num_cells)
        if weights is not None:
            for start, cells in _cells(anomalous, *grid[:2]):
                of_these = weights[start : start + len(cells)]
                of_weights += np.bincount(cells, of_these, minlength=num_cells)
        # An empty cell at the end: nothing is added beyond the last score.
        cumulated = np.zeros((3, num_cells + 2))
        of_third = of_weights if weights is not None else of_anomalous
        for row, of_cells in zip(
            cumulated, (of_all - of_anomalous, of_anomalous, of_third), strict=True
        ):
            # A quarter of the time of numpy.cumsum.
            row[1:-1] = torch.from_numpy(of_cells).cumsum(0)
            row[-1] = row[-2]
        return cls(cumulated, float(first), float(per_unit))

    def below(self, edges: NDArray[np.float32]) -> Floats:
        """(3, E) what lies below each edge."""
        places = edges.astype(np.float64) * self._per_unit - self._first
        places = np.clip(places, 0, self._cumulated.shape[1] - 2)
        cells = places.astype(np.int64)
        lower = self._cumulated[:, cells]
        return lower + (places - cells) * (self._cumulated[:, cells + 1] - lower)


def _cell_counts(
    scores: NDArray[np.float32], first: float, per_unit: float, num_cells: int, most: float
) -> NDArray[np.int32] | None:
    """(C,) number of scores in each cell; None if it is more than ``most``."""
    counts = np.zeros(num_cells, dtype=np.int32)
    filled = torch.from_numpy(counts)
    for start, cells in _cells(scores, first, per_unit):
        # Half the time of numpy.bincount, which looks for the largest cell first.
        filled.scatter_add_(0, torch.from_numpy(cells), _ONES[: len(cells)])
        # The first stretch already tells most of what will be too much.
        is_first_or_last = start == 0 or start + len(cells) == len(scores)
        if is_first_or_last and counts.max() > most:
            return None
    return counts


def _cells(
    scores: NDArray[np.float32], first: float, per_unit: float
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Where a stretch of the scores begins, and their cells; valid until the next stretch."""
    scaled = np.empty(min(_CHUNK, len(scores)), dtype=np.float32)
    cells = np.empty(len(scaled), dtype=np.int64)
    for start in range(0, len(scores), _CHUNK):
        some = scores[start : start + _CHUNK]
        here, found = scaled[: len(some)], cells[: len(some)]
        np.multiply(some, np.float32(per_unit), out=here)
        if first < 0:  # else the conversion below rounds down
            np.floor(here, out=here)
        np.subtract(here, np.float32(first), out=here)
        np.copyto(found, here, casting="unsafe")
        yield start, found
