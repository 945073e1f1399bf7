"""A few rows that leave no other row far away: greedy k-centre without most of its distances."""

from __future__ import annotations

import torch
from torch import Tensor

from clad.checks import expect_range

_POOL = 1024
"""Rows among which centres are chosen without a look at the others."""
_WIDTH = 256
"""Columns above which rows are projected before they are compared."""


def greedy_rows(rows: Tensor, count: int, seed: int = 0) -> Tensor:
    """Positions of ``count`` rows, each as far as can be from those before it.

    Rows of more than 256 columns are first projected onto 256 random directions, which changes
    distances by a few per cent; narrower ones are compared as they are.

    Args:
        rows: (N, C) float32; the first one is always chosen.
        count: Rows to choose, at least 1.
        seed: Of the projection.

    Returns:
        (min(count, N),) int64, in the order of choice.

    Source: PatchCore's coreset with its random projection (Roth et al., CVPR 2022,
    arXiv:2106.08265, section 3.2); Johnson and Lindenstrauss (1984), with the sparse signs of
    Achlioptas (J. Comput. Syst. Sci. 2003).
    """
    return farthest_first(projected(rows, seed), count)


def farthest_first(rows: Tensor, count: int) -> Tensor:
    """Positions of rows chosen one by one, each the farthest from all chosen before it.

    The largest distance of any row to its nearest chosen one is at most twice the smallest that
    ``count`` rows can have. The order is that of the plain loop over all rows, which costs one pass
    over them per choice. Here distances are taken only where they may matter: what is known of a
    row is an upper bound (its distance to the centres that it has been compared with), and as long
    as the largest distance within the pool of the largest bounds is not below the smallest of these
    bounds, no row outside can be the farthest.

    Args:
        rows: (N, C) float32.
        count: Rows to choose, at least 1.

    Returns:
        (min(count, N),) int64, in the order of choice; first row 0. Equal rows are chosen once,
        until nothing else is left.

    Raises:
        ValueError: If ``count`` is below 1 or there are no rows.

    Source: Gonzalez, Clustering to minimize the maximum intercluster distance (Theor. Comput. Sci.
    1985); lazy bounds as in Minoux, Accelerated greedy algorithms (1978).
    """
    expect_range("count", count, 1, float("inf"))
    if len(rows) == 0:
        raise ValueError("expected at least one row to choose from, got none")
    if count >= len(rows):
        return torch.arange(len(rows), device=rows.device)
    rows = rows - rows.mean(0)  # small norms: squares lose less to rounding
    search = _Bounds(rows, count)
    while search.num_chosen < count:
        search.choose_from_pool(count)
    return search.chosen


class _Bounds:
    """Upper bounds of all rows' distances to the centres, and the centres."""

    def __init__(self, rows: Tensor, count: int) -> None:
        self.rows = rows
        self.chosen = torch.zeros(count, dtype=torch.long, device=rows.device)
        self.num_chosen = 1
        self.bounds = torch.linalg.vector_norm(rows - rows[0], dim=1)
        self.bounds[0] = -1.0  # of a chosen row: it is never the farthest again
        self.num_compared = torch.ones(len(rows), dtype=torch.long, device=rows.device)

    def choose_from_pool(self, count: int) -> None:
        """Tighten the largest bounds; choose as long as no row outside can be farther."""
        highest = self.bounds.topk(min(_POOL, len(self.rows)))
        pool = highest.indices
        outside = highest.values[-1].item() if len(pool) < len(self.rows) else -float("inf")
        self._tighten(pool)
        points, distances = self.rows[pool], self.bounds[pool]
        while self.num_chosen < count:
            farthest, place = distances.max(0)
            if farthest < outside:
                break
            self.chosen[self.num_chosen] = pool[place]
            self.num_chosen += 1
            distances = torch.minimum(
                distances, torch.linalg.vector_norm(points - points[place], dim=1)
            )
            distances[place] = -1.0
        self.bounds[pool] = distances
        self.num_compared[pool] = self.num_chosen

    def _tighten(self, pool: Tensor) -> None:
        """Compare the rows of a pool with the centres that they have not been compared with."""
        start = int(self.num_compared[pool].min())
        if start == self.num_chosen:
            return
        points, centres = self.rows[pool], self.rows[self.chosen[start : self.num_chosen]]
        offsets = centres.square().sum(1)
        nearest = torch.addmm(offsets, points, centres.T, alpha=-2).min(1).indices
        # From the difference, which is exactly 0 for equal rows.
        distances = torch.linalg.vector_norm(points - centres[nearest], dim=1)
        self.bounds[pool] = torch.minimum(self.bounds[pool], distances)


def projected(rows: Tensor, seed: int) -> Tensor:
    """(N, at most 256) rows with distances kept up to a few per cent.

    Args:
        rows: (N, C) float32.
        seed: Decides the directions.
    """
    width = rows.shape[1]
    if width <= _WIDTH:
        return rows
    random = torch.Generator().manual_seed(seed)
    signs = torch.randint(6, (width, _WIDTH), generator=random)
    directions = (signs == 0).float() - (signs == 1).float()
    return rows @ (directions * (3 / _WIDTH) ** 0.5).to(rows)
