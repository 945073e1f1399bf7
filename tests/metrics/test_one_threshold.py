"""Accuracy at one threshold for all categories, by hand and against a walk over all thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluate import evaluate
from clad.metrics.one_threshold import ACCURACY, ORACLE, best_common_threshold, with_one_threshold

# Each category is separated, a at 0.5 and b at 10; its own threshold makes no mistake.
SCORES = {"a": [0.1, 0.2, 0.9, 1.0], "b": [9.0, 9.5, 9.6, 9.7, 11.0]}
LABELS = {"a": [0, 0, 1, 1], "b": [0, 0, 0, 0, 1]}
OWN = {"a": 0.5, "b": 10.0}


def collected(scores=SCORES, labels=LABELS, domains=()) -> CollectedPredictions:
    names = tuple(name for name, own in scores.items() for _ in own)
    truth = np.concatenate([labels[name] for name in scores])
    return CollectedPredictions(
        paths=tuple(f"{n}.png" for n in range(len(names))),
        categories=names,
        defect_types=tuple("crack" if label else "good" for label in truth),
        labels=truth,
        scores=np.concatenate([scores[name] for name in scores]).astype(float),
        has_mask=np.zeros(len(names), dtype=bool),
        domains=domains,
    )


def test_perfect_thresholds_per_category_and_none_for_both() -> None:
    found = collected()
    before = evaluate(found, OWN)
    assert before.mean["image_accuracy"] == 1
    after = with_one_threshold(before, found, 9.55)
    # a: nothing is called, half right; b: 9.6 and 9.7 are called as well, 3 of 5 right.
    assert after.per_category["a"][ACCURACY] == 0.5
    assert after.per_category["b"][ACCURACY] == pytest.approx(3 / 5)
    assert after.mean[ACCURACY] == pytest.approx((0.5 + 0.6) / 2)
    # The best one calls b's defect alone: 1/2 and 5/5. (a's own would give 1 and 1/5.)
    assert after.mean[ORACLE] == pytest.approx(0.75)
    assert after.mean["image_accuracy"] == 1
    assert after.left_out[ACCURACY] == 0
    assert type(after).from_json(after.to_json()) == after


@pytest.mark.parametrize("seed", range(10))
def test_no_common_threshold_is_better_than_the_oracle(seed) -> None:
    rng = np.random.default_rng(seed)
    labels = {name: np.append(rng.integers(0, 2, size), [0, 1]) for name, size in
              (("a", 5), ("b", 20), ("c", 11))}  # fmt: skip
    scores = {
        name: np.round(rng.normal(rng.normal(), 1, len(own)) + own, 1)
        for name, own in labels.items()
    }

    def mean_accuracy(threshold: float) -> float:
        right = [((scores[n] >= threshold) == (labels[n] == 1)).mean() for n in labels]
        return float(np.mean(right))

    best = best_common_threshold(scores, labels)
    candidates = [*np.concatenate(list(scores.values())), math.inf]
    assert mean_accuracy(best) == pytest.approx(max(map(mean_accuracy, candidates)))
    found = collected(scores, labels)
    after = with_one_threshold(evaluate(found), found, None)
    assert after.mean[ORACLE] == pytest.approx(mean_accuracy(best))


def test_categories_without_a_common_threshold_and_without_any() -> None:
    found = collected()
    without = with_one_threshold(evaluate(found, OWN), found, None)
    assert math.isnan(without.mean[ACCURACY])
    assert without.left_out[ACCURACY] == 2
    assert without.undefined[-1] == f"{ACCURACY}: none was fitted on all categories"
    ranked = with_one_threshold(evaluate(found), found, None)
    assert ACCURACY not in ranked.mean
    assert ranked.mean[ORACLE] == pytest.approx(0.75)


def test_one_category_has_only_its_own_threshold() -> None:
    found = collected({"a": SCORES["a"]})
    before = evaluate(found, OWN)
    assert with_one_threshold(before, found, 0.5) is before


def test_domains_get_their_means_as_well() -> None:
    found = collected(domains=("parts",) * 4 + ("face",) * 5)
    after = with_one_threshold(evaluate(found, OWN), found, 9.55)
    assert after.per_domain["parts"][ACCURACY] == 0.5
    assert after.per_domain["face"][ACCURACY] == pytest.approx(0.6)
