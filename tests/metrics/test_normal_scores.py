"""Percentile and expected false alarms, by counting, by promise, and after thinning."""

from __future__ import annotations

import numpy as np
import pytest

from clad.metrics.normal_scores import NormalScores

BUDGETS = (0.01, 0.05, 0.1, 0.29, 0.5)


def float32(values):
    return np.float32(values).astype(np.float64)


def test_a_table_computed_by_hand() -> None:
    normals = NormalScores.of(np.array([3.0, 1.0, 2.0, 2.0]))
    asked = np.array([0.0, 1.0, 2.0, 2.5, 3.0, 4.0])
    assert normals.num_at_or_above(asked).tolist() == [4, 4, 3, 1, 1, 0]
    assert normals.percentile(asked).tolist() == [0, 0, 25, 75, 75, 100]
    assert normals.false_alarms_per_1000(asked).tolist() == [1000, 1000, 800, 400, 400, 200]
    assert normals.resolution == 200


@pytest.mark.parametrize("size", [5, 19, 20, 100, 1000, 1001, 2500, 12_345])
def test_thinning_keeps_the_extremes_and_never_counts_too_few(size) -> None:
    scores = np.random.default_rng(size).gamma(2.0, size=size)
    normals = NormalScores.of(scores)
    assert len(normals.values) == min(size, 1000)
    assert (normals.values[0], normals.values[-1]) == (scores.min(), scores.max())
    assert normals.count == size
    asked = np.concatenate([scores, scores + 1e-9, [-1, 99]])
    counted = (scores[None] >= asked[:400, None]).sum(axis=1)
    found = normals.num_at_or_above(asked[:400])
    assert (found >= counted).all()
    assert (found - counted).max() <= (0 if size <= 1000 else size / 999 + 1)
    assert normals.num_at_or_above(asked[-2:]).tolist() == [size, 0]


@pytest.mark.parametrize("size", [5, 19, 39, 100, 999, 1000, 1500, 5000])
@pytest.mark.parametrize("ties", [False, True])
def test_the_threshold_of_a_budget_calls_just_the_scores_within_it(size, ties) -> None:
    rng = np.random.default_rng(size)
    scores = float32(rng.integers(0, 30, size) if ties else rng.normal(size=size))
    normals = NormalScores.of(scores)
    asked = np.concatenate([scores, np.nextafter(np.float32(scores), np.float32(99)), [-99, 99]])
    alarms = normals.false_alarms_per_1000(asked)
    for budget in BUDGETS:
        if budget < 1 / (size + 1):
            continue
        called = asked >= normals.threshold(budget)
        assert np.array_equal(called, alarms <= 1000 * budget * (1 + 1e-9))


def test_all_scores_give_the_conformal_rank_and_thinned_ones_a_near_higher_one() -> None:
    scores = float32(np.random.default_rng(0).permutation(5000) + 1.0)
    for budget in BUDGETS:
        exact = NormalScores.of(scores, most=None).threshold(budget)
        thinned = NormalScores.of(scores).threshold(budget)
        rank = np.ceil(5001 * (1 - budget) - 1e-9)
        assert (scores < exact).sum() == rank
        assert exact <= thinned <= exact + 6


def test_fresh_normal_images_raise_no_more_alarms_than_expected() -> None:
    rng = np.random.default_rng(0)
    expected, came = [], []
    for _ in range(3000):
        scores = rng.normal(size=41)
        # The last one is a new normal image: how often is it at or above a p-value of 10 %?
        alarms = NormalScores.of(scores[:40]).false_alarms_per_1000(scores[40:])[0]
        expected.append(alarms)
        came.append(alarms <= 100)
    assert np.mean(came) <= 0.1 + 3 * np.std(came) / np.sqrt(len(came))
    assert np.mean(expected) == pytest.approx(500, rel=0.05)
