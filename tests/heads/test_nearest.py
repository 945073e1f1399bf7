from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from clad.heads import nearest
from clad.heads.nearest import NearestRows, nearest_distance


def slow(queries, bank):
    return cdist(queries.double().numpy(), bank.double().numpy()).min(1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (50, 30, 7), (20, 1, 64)])
def test_equals_scipys_distances(shape):
    queries, bank = torch.randn(shape[0], shape[2]), torch.randn(shape[1], shape[2])
    found = nearest_distance(queries, bank, half=False)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, slow(queries, bank), rtol=1e-5)


def test_chunks_do_not_show(monkeypatch):
    queries, bank = torch.randn(23, 5), torch.randn(11, 5)
    whole = nearest_distance(queries, bank, half=False)
    monkeypatch.setattr(nearest, "_CHUNK_BYTES", {"cpu": 4 * 11 * 4})
    monkeypatch.setattr(nearest, "_SMALLEST_CHUNK", 1)
    search = NearestRows(bank, half=False)
    assert search._chunk() == 4
    torch.testing.assert_close(search.distances(queries), whole)


@pytest.mark.parametrize(("rows", "half", "queries"), [(8192, True, 512), (8192, False, 256)])
def test_a_chunk_fills_its_allowance(rows, half, queries):
    assert NearestRows(torch.zeros(rows, 1), half)._chunk() == queries


def test_a_large_bank_still_gets_enough_queries_for_a_product():
    assert NearestRows(torch.zeros(10**6, 1), half=False)._chunk() == 64


def test_one_search_serves_many_batches():
    bank, batches = torch.randn(30, 7), torch.randn(3, 20, 7)
    search = NearestRows(bank, half=False)
    for queries in batches:
        expected = torch.cdist(queries, bank).amin(1)
        torch.testing.assert_close(search.distances(queries), expected)


def test_a_row_of_the_bank_is_at_distance_zero_even_far_from_the_origin():
    # The difference of rows is taken, not of large squares.
    bank = torch.randn(40, 16) + 1000
    assert nearest_distance(bank[7:9], bank, half=False).tolist() == [0, 0]


def test_half_precision_errs_upwards_only_and_little():
    queries, bank = torch.randn(500, 96), torch.randn(2000, 96)
    exact = slow(queries, bank)
    found = nearest_distance(queries, bank, half=True).double().numpy()
    assert (found >= exact * (1 - 1e-6)).all()
    assert (found / exact).max() < 1.05
    assert (found / exact).mean() < 1.01


def test_half_precision_keeps_the_order_of_near_and_far():
    bank = torch.randn(500, 96)
    near, far = bank[:20] + 0.1 * torch.randn(20, 96), bank[:20] + 2 * torch.randn(20, 96)
    assert nearest_distance(near, bank, half=True).max() < nearest_distance(far, bank, True).min()


def test_an_empty_bank_is_refused():
    with pytest.raises(ValueError, match="expected a bank with at least one row, got an empty"):
        nearest_distance(torch.rand(2, 3), torch.empty(0, 3))


def test_no_queries_give_no_distances():
    assert nearest_distance(torch.empty(0, 3), torch.rand(2, 3)).shape == (0,)
