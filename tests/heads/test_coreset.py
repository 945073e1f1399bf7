from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from clad.heads import coreset
from clad.heads.coreset import farthest_first, greedy_rows, projected


def plain_greedy(rows: np.ndarray, count: int) -> list[int]:
    """Gonzalez's loop: one look at all rows per choice."""
    chosen, distances = [0], np.linalg.norm(rows - rows[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
    return chosen


def cover_radius(rows: np.ndarray, chosen) -> float:
    return float(cdist(rows, rows[list(chosen)]).min(1).max())


def clustered(count: int, width: int, seed: int = 0) -> torch.Tensor:
    """Dense clusters and a few rows far from them, as patches of good parts are."""
    random = torch.Generator().manual_seed(seed)
    centres = 10 * torch.randn(5, width, generator=random)
    rows = centres[torch.randint(5, (count,), generator=random)]
    spread = 10.0 ** -torch.randint(3, (count, 1), generator=random)
    return rows + spread * torch.randn(count, width, generator=random)


@pytest.mark.parametrize("pool", [1, 7, 64, 10_000])
@pytest.mark.parametrize("width", [2, 40])
def test_the_order_is_that_of_the_plain_loop(monkeypatch, pool, width):
    monkeypatch.setattr(coreset, "_POOL", pool)
    for rows in (clustered(300, width), torch.randn(300, width)):
        found = farthest_first(rows, 60)
        assert found.tolist() == plain_greedy(rows.double().numpy(), 60)


def test_far_from_the_origin_the_order_is_the_same():
    rows = clustered(300, 8)
    assert torch.equal(farthest_first(rows + 1000, 40), farthest_first(rows, 40))


@pytest.mark.parametrize("seed", range(8))
def test_the_radius_is_at_most_twice_the_best_one(seed):
    rows = clustered(11, 2, seed).double().numpy()
    best = min(cover_radius(rows, each) for each in combinations(range(11), 3))
    found = farthest_first(torch.from_numpy(rows).float(), 3)
    assert cover_radius(rows, found.tolist()) <= 2 * best * (1 + 1e-5)


def test_a_rare_row_is_chosen_early():
    rows = torch.randn(5000, 16)
    rows[4321] = 50.0
    assert farthest_first(rows, 2).tolist() == [0, 4321]


def test_equal_rows_are_chosen_once_while_others_are_left():
    distinct = torch.randn(20, 6) * torch.logspace(-3, 3, 20)[:, None]
    rows = distinct.repeat(15, 1)[torch.randperm(300)]
    chosen = farthest_first(rows, 20)
    assert len({tuple(row) for row in rows[chosen].tolist()}) == 20
    more = farthest_first(rows, 290)
    assert torch.equal(more[:20], chosen)
    assert len(set(more.tolist())) == 290, "no row twice, not even when only copies are left"


def test_all_rows_equal_still_gives_as_many_as_asked_for():
    assert len(set(farthest_first(torch.ones(50, 3), 10).tolist())) == 10


@pytest.mark.parametrize("count", [5, 6, 100])
def test_as_many_as_there_are_or_more_keep_all(count):
    assert farthest_first(torch.randn(5, 3), count).tolist() == [0, 1, 2, 3, 4]


def test_most_distances_are_never_taken(monkeypatch):
    compared = 0
    tighten = coreset._Bounds._tighten

    def counted(self, pool):
        nonlocal compared
        compared += len(pool) * (self.num_chosen - int(self.num_compared[pool].min()))
        tighten(self, pool)

    monkeypatch.setattr(coreset._Bounds, "_tighten", counted)
    monkeypatch.setattr(coreset, "_POOL", 256)
    dense = torch.cat([1e-3 * torch.randn(15_000, 4), torch.randn(5_000, 4)])
    farthest_first(dense, 500)
    assert compared < 0.3 * len(dense) * 500


def test_wide_rows_are_projected_and_keep_their_distances():
    rows = torch.randn(40, 3000)
    narrow = projected(rows, seed=1)
    assert narrow.shape == (40, 256)
    pairs = torch.pdist(narrow) / torch.pdist(rows)
    assert abs(pairs.mean() - 1) < 0.05
    assert pairs.std() < 1.5 / np.sqrt(2 * 256)  # of a chi distribution with 256 degrees
    assert torch.equal(projected(rows, seed=1), narrow)
    assert not torch.equal(projected(rows, seed=2), narrow)


def test_narrow_rows_are_compared_as_they_are():
    rows = torch.randn(40, 256)
    assert projected(rows, seed=0) is rows
    assert torch.equal(greedy_rows(rows, 7, seed=0), greedy_rows(rows, 7, seed=5))


def test_projection_does_not_spoil_the_cover():
    rows = clustered(400, 1000)
    exact = cover_radius(rows.numpy(), farthest_first(rows, 40).tolist())
    assert cover_radius(rows.numpy(), greedy_rows(rows, 40).tolist()) <= 1.15 * exact


@pytest.mark.parametrize(
    ("rows", "count", "message"),
    [
        (torch.empty(0, 3), 2, "expected at least one row to choose from, got none"),
        (torch.ones(4, 3), 0, r"expected count in \[1"),
    ],
)
def test_nothing_to_choose_is_refused(rows, count, message):
    with pytest.raises(ValueError, match=message):
        farthest_first(rows, count)
