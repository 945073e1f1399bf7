from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from clad.heads.reservoir import Reservoir


def numbered(start: int, stop: int) -> torch.Tensor:
    return torch.arange(start, stop, dtype=torch.float32)[:, None]


def sample(size: int, blocks: list[torch.Tensor], seed=(0, 0)) -> list[float]:
    reservoir = Reservoir(size, seed)
    for block in blocks:
        reservoir.offer(block)
    return sorted(reservoir.rows().flatten().tolist())


def test_every_row_is_kept_equally_often_wherever_its_block_came():
    blocks = [numbered(0, 7), numbered(7, 8), numbered(8, 30), numbered(30, 40)]
    counts = np.zeros(40)
    for seed in range(1500):
        counts[np.array(sample(10, blocks, (seed,)), dtype=int)] += 1
    assert counts.sum() == 15000
    # Rows of one draw exclude each other, which makes the statistic smaller by (1 - 10/40).
    statistic = ((counts - 375) ** 2 / 375).sum() / (1 - 10 / 40)
    assert stats.chi2.sf(statistic, df=39) > 1e-3


def test_pairs_of_rows_are_kept_together_as_often_as_chance_has_it():
    together = sum(
        {0, 9} <= set(sample(4, [numbered(0, 5), numbered(5, 10)], (s,))) for s in range(3000)
    )
    expected = 3000 * (4 * 3) / (10 * 9)
    assert abs(together - expected) < 4 * np.sqrt(expected)


def test_size_is_never_exceeded_and_rows_are_distinct():
    reservoir = Reservoir(16, (3,))
    for start in range(0, 200, 10):
        reservoir.offer(numbered(start, start + 10))
        kept = reservoir.rows().flatten().tolist()
        assert len(kept) == len(set(kept)) == min(16, start + 10)


def test_fewer_rows_than_places_are_all_kept():
    assert sample(100, [numbered(0, 3), numbered(3, 5)]) == [0, 1, 2, 3, 4]


def test_seed_decides_and_splitting_into_blocks_does_not():
    whole = sample(8, [numbered(0, 64)], (1, 2))
    assert whole == sample(8, [numbered(0, 64)], (1, 2))
    assert whole == sample(8, [numbered(0, 1), numbered(1, 50), numbered(50, 64)], (1, 2))
    assert whole != sample(8, [numbered(0, 64)], (1, 3))


def test_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(1)
    first = sample(8, [numbered(0, 64)])
    after = torch.rand(1)
    torch.manual_seed(2)
    assert sample(8, [numbered(0, 64)]) == first
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)


def test_rows_come_whole_and_as_a_copy():
    rows = torch.rand(5, 3)
    reservoir = Reservoir(5, (0,))
    reservoir.offer(rows)
    kept = reservoir.rows()
    assert {tuple(row) for row in kept.tolist()} == {tuple(row) for row in rows.tolist()}
    kept.zero_()
    assert reservoir.rows().abs().sum() > 0


def test_nothing_offered_gives_an_empty_sample():
    assert Reservoir(5, (0,)).rows().shape == (0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kind_of_numbers_is_kept(dtype):
    reservoir = Reservoir(5, (0,))
    reservoir.offer(torch.rand(9, 3, dtype=dtype))
    assert reservoir.rows().dtype == dtype
