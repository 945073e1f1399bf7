"""Equal error rate, rates at fixed points and oracle accuracy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn import metrics as sk

from clad.metrics.functional.eer import (
    equal_error_rate,
    equal_error_rate_of,
    false_alarms_at_recall_of,
    recall_at_false_alarms_of,
)
from clad.metrics.functional.oracle_accuracy import oracle_accuracy_of
from clad.metrics.functional.ranking import rank


def random_case(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 120))
    labels = rng.random(size) < rng.uniform(0.05, 0.95)
    labels[:2] = (True, False)
    scores = rng.normal(size=size) + labels * rng.normal()
    ties = rng.integers(0, 4)
    return (np.round(scores * ties) / ties if ties else scores), labels.astype(int)


def all_thresholds(scores, labels):
    """(recall, false alarms) of every threshold, by counting."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = scores >= threshold
        points.append((called[labels == 1].mean(), called[labels == 0].mean()))
    return points


def slow_eer(scores, labels):
    """Walks the curve from corner to corner until misses cross false alarms."""
    points = all_thresholds(scores, labels)
    for (recall, alarms), (next_recall, next_alarms) in pairwise(points):
        here, there = 1 - recall - alarms, 1 - next_recall - next_alarms
        if there <= 0:
            share = here / (here - there)
            return alarms + share * (next_alarms - alarms)
    raise AssertionError


@pytest.mark.parametrize("seed", range(60))
def test_eer_equals_a_slow_walk_and_the_curve_of_scikit_learn(seed):
    scores, labels = random_case(seed)
    value = equal_error_rate(scores, labels)
    assert value == pytest.approx(slow_eer(scores, labels), abs=1e-12)
    alarms, recall, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    # Vertical stretches have two recalls; the crossing is sought along the curve, not along x.
    along = np.arange(len(alarms))
    place = brentq(lambda t: 1 - np.interp(t, along, alarms + recall), 0, len(alarms) - 1)
    assert value == pytest.approx(np.interp(place, along, alarms), abs=1e-9)


def test_eer_computed_by_hand():
    # By falling score: anomalous, normal, anomalous, normal: corners (recall, alarms)
    # (1/2, 0), (1/2, 1/2), (1, 1/2), (1, 1); misses equal alarms at the second.
    assert equal_error_rate([4, 3, 2, 1], [1, 0, 1, 0]) == 0.5
    # Corners (1/3, 0), (2/3, 0), (2/3, 1/2), (1, 1/2): level stretch at misses 1/3.
    assert equal_error_rate([9, 8, 7, 6, 5], [1, 1, 0, 1, 0]) == pytest.approx(1 / 3)
    # Tie of one anomalous and one normal: from (1/2, 0) straight to (1, 1/3); misses
    # 1/2 - s/2 equal alarms s/3 at s = 3/5, alarms 1/5.
    assert equal_error_rate([5, 4, 4, 1, 0], [1, 1, 0, 0, 0]) == pytest.approx(0.2)


def test_perfect_inverted_constant_and_one_class():
    assert equal_error_rate([1, 2, 3], [0, 0, 1]) == 0
    assert equal_error_rate([3, 2, 1], [0, 0, 1]) == 1
    assert equal_error_rate([7, 7, 7], [0, 0, 1]) == 0.5
    ranking = rank([1.0, 2.0], [1, 1])
    for metric in (
        equal_error_rate_of,
        false_alarms_at_recall_of,
        recall_at_false_alarms_of,
        oracle_accuracy_of,
    ):
        assert math.isnan(metric(ranking))


@pytest.mark.parametrize("seed", range(10))
def test_eer_is_the_same_for_swapped_classes_and_increasing_maps(seed):
    scores, labels = random_case(seed)
    value = equal_error_rate(scores, labels)
    assert equal_error_rate(-scores, 1 - labels) == pytest.approx(value, abs=1e-12)
    assert equal_error_rate(-scores, labels) == pytest.approx(1 - value, abs=1e-12)
    assert equal_error_rate(np.exp(scores), labels) == value


@pytest.mark.parametrize("seed", range(30))
def test_fixed_rates_and_oracle_accuracy_equal_a_search_over_all_thresholds(seed):
    scores, labels = random_case(seed)
    ranking = rank(scores, labels)
    points = all_thresholds(scores, labels)
    for wanted in (0.5, 0.95, 1.0):
        best = min(alarms for recall, alarms in points if recall >= wanted - 1e-12)
        assert false_alarms_at_recall_of(ranking, wanted) == pytest.approx(best)
    for accepted in (0.0, 0.01, 0.3):
        best = max(recall for recall, alarms in points if alarms <= accepted + 1e-12)
        assert recall_at_false_alarms_of(ranking, accepted) == pytest.approx(best)
    num_anomalous = labels.sum()
    num_normal = len(labels) - num_anomalous
    rights = [r * num_anomalous + (1 - a) * num_normal for r, a in points]
    assert oracle_accuracy_of(ranking) == pytest.approx(max(rights) / len(labels))


def test_rates_out_of_range_are_refused():
    ranking = rank([1.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match=r"expected recall in \[1e-09, 1\], got 95"):
        false_alarms_at_recall_of(ranking, 95)
    with pytest.raises(ValueError, match=r"expected false_alarms in \[0, 1\], got 5"):
        recall_at_false_alarms_of(ranking, 5)
