"""Few scores are exact, many are a histogram, and the way from one to the other loses nothing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from clad.metrics.functional.binned import (
    BinnedRanking,
    binned_auroc,
    binned_average_precision,
    binned_eer,
    binned_f1_max,
)
from clad.metrics.functional.eer import equal_error_rate
from clad.metrics.functional.f1_max import f1_max
from clad.metrics.score_counts import MOST_KEPT, ScoreCounts

Drawn = tuple[np.ndarray, np.ndarray]


def drawn(size: int, seed: int = 0) -> Drawn:
    rng = np.random.default_rng(seed)
    labels = rng.random(size) < 0.1
    return (rng.normal(size=size) + labels).astype(np.float32).round(3), labels


def counted(*parts: Drawn) -> ScoreCounts:
    counts = ScoreCounts()
    for scores, labels in parts:
        counts.count(scores, scores[labels])
    return counts


def values(ranking: BinnedRanking) -> list[float]:
    taken = (binned_auroc, binned_average_precision, binned_f1_max, binned_eer)
    return [take(ranking) for take in taken]


def test_few_scores_are_exact_in_whatever_parts_they_come():
    parts = [drawn(300, seed) for seed in range(4)]
    scores, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    exact = [
        roc_auc_score(labels, scores),
        average_precision_score(labels, scores),
        f1_max(scores, labels),
        equal_error_rate(scores, labels),
    ]
    assert values(counted(*parts).ranking()) == pytest.approx(exact, abs=1e-12)
    halves = counted(*parts[:2])
    halves.merge(pickle.loads(pickle.dumps(counted(*parts[2:]))))
    assert values(halves.ranking()) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("few_first", [True, False])
def test_few_and_many_add_up(few_first: bool):
    few, many = drawn(500), drawn(MOST_KEPT + 1, seed=1)
    first, second = (counted(few), counted(many))[:: 1 if few_first else -1]
    first.merge(second)
    num_anomalous = few[1].sum() + many[1].sum()
    num_normal = MOST_KEPT + 501 - num_anomalous
    assert first.totals == pytest.approx([num_normal, num_anomalous, num_anomalous])
    both = (np.concatenate(each) for each in zip(few, many, strict=True))
    scores, labels = both
    assert binned_auroc(first.ranking()) == pytest.approx(roc_auc_score(labels, scores), abs=1e-5)
    assert (first.lowest, first.highest) == (scores.min(), scores.max())


def test_memory_is_bounded_on_either_side_of_the_change():
    scores, labels = drawn(MOST_KEPT)
    counts = counted((scores, labels))
    assert values(counts.ranking())[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert counts.num_bytes < 2**20
    counts.count(scores[:1], scores[:0])
    assert counts.num_bytes < 2**18
    assert counts.totals.sum() == pytest.approx(MOST_KEPT + 1 + labels.sum())


def test_what_lies_above_thresholds_and_below_shares():
    scores = np.array([1, 2, 2, 3, -0.0, 0.0], dtype=np.float32)
    counts = ScoreCounts()
    counts.count(scores, scores[[1, 3]], np.array([0.25, 0.75]))
    above = counts.above(np.array([-1, 0, 1.5, 2, 3]))
    assert above.tolist() == [[4, 2, 1, 0, 0], [2, 2, 2, 1, 0], [1, 1, 1, 0.75, 0]]
    assert [counts.quantile(share) for share in (0, 0.5, 1)] == [0, 1.5, 3]
    assert counts.ranking().normal.tolist() == [0, 1, 1, 2]


def test_of_nothing_there_is_nothing():
    empty = ScoreCounts()
    assert np.isnan(empty.quantile(0.5))
    assert not empty.ranking().is_defined
    assert (empty.lowest, empty.highest) == (np.inf, -np.inf)
    full = counted(drawn(20))
    full.merge(empty)
    assert full.totals[:2].sum() == 20


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(broken: float):
    with pytest.raises(ValueError, match="expected finite scores, got NaN or infinity"):
        ScoreCounts().count(np.array([0, broken], np.float32), np.empty(0, np.float32))
