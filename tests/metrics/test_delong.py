"""DeLong's test against structural components written out pair by pair, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from clad.metrics.functional.delong import delong_test
from clad.metrics.paired import paired_difference


def slow_delong(first, second, labels):
    """Equations 4 to 6 of DeLong et al. (1988), with every pair compared."""
    components = []
    for scores in (first, second):
        pairs = [
            [1.0 if x > y else 0.5 if x == y else 0.0 for y in scores[labels == 0]]
            for x in scores[labels == 1]
        ]
        components.append((np.mean(pairs, axis=1), np.mean(pairs, axis=0)))
    areas = [of_anomalous.mean() for of_anomalous, _ in components]
    covariance = sum(np.cov(each) / len(each[0]) for each in zip(*components, strict=True))
    contrast = np.array([1.0, -1.0])
    error = math.sqrt(contrast @ covariance @ contrast)
    return areas[0] - areas[1], error, 2 * norm.sf(abs(areas[0] - areas[1]) / error)


@pytest.mark.parametrize("levels", [None, 6], ids=["without ties", "with many ties"])
def test_equals_the_slow_structural_components(levels):
    rng = np.random.default_rng(0 if levels is None else levels)
    for size in (5, 40, 90):
        labels = rng.permutation(np.arange(size) % 3 == 0).astype(int)
        shared = rng.normal(size=size) + labels
        both = [shared + rng.normal(size=size) for _ in range(2)]
        if levels:
            both = [np.round(each * levels / 4) for each in both]
        found = delong_test(*both, labels)
        assert found == pytest.approx(slow_delong(*both, labels), rel=1e-9)
        areas = [roc_auc_score(labels, each) for each in both]
        assert found.difference == pytest.approx(areas[0] - areas[1])


def test_two_and_two_items_by_hand():
    # First: pairs won 2 and 1 of 2 by the anomalous; second: all. Components differ by 0, -1/2 of
    # the anomalous and by -1/2, 0 of the normal: variance 1/8 / 2 each.
    found = delong_test([3, 1, 2, 0], [3, 4, 1, 2], [1, 1, 0, 0])
    assert found.difference == -0.25
    assert found.standard_error == pytest.approx(math.sqrt(1 / 8))
    assert found.p_value == pytest.approx(math.erfc(0.5))


def test_agrees_with_the_bootstrap_on_many_images():
    rng = np.random.default_rng(3)
    labels = np.arange(600) % 2
    shared = rng.normal(size=600) + labels
    first, second = (shared + 0.7 * rng.normal(size=600) for _ in range(2))
    found = delong_test(first, second, labels)
    drawn = paired_difference(first, second, labels, ["a"] * 600, num_resamples=4000)
    width = drawn.interval.high - drawn.interval.low
    assert width == pytest.approx(2 * 1.96 * found.standard_error, rel=0.06)
    assert drawn.p_value == pytest.approx(found.p_value, abs=0.04)


def test_order_scale_and_exchange():
    rng = np.random.default_rng(1)
    first, second, labels = rng.normal(size=30), rng.normal(size=30), np.arange(30) % 2
    found = delong_test(first, second, labels)
    assert delong_test(np.exp(first), 7 * second - 1, labels) == found
    back = delong_test(second, first, labels)
    assert (-back.difference, *back[1:]) == found
    order = rng.permutation(30)
    assert delong_test(first[order], second[order], labels[order]) == pytest.approx(found)


def test_what_has_no_value():
    same = delong_test([0.1, 0.4, 0.3, 0.9], [1, 4, 3, 9], [0, 1, 0, 1])
    assert same == (0.0, 0.0, 1.0)
    # Perfect against constant: the difference is the same for every item, so no spread is seen.
    perfect = delong_test([1, 1, 0, 0], [5, 5, 5, 5], [1, 1, 0, 0])
    assert perfect[:2] == (0.5, 0.0)
    assert math.isnan(perfect.p_value)
    one_kind = delong_test([1, 2], [2, 1], [1, 1])
    assert all(math.isnan(each) for each in one_kind)
    alone = delong_test([3, 1, 2], [1, 2, 3], [1, 0, 0])
    assert alone.difference == 1.0
    assert math.isnan(alone.standard_error)
    assert math.isnan(alone.p_value)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"two lists of scores of the same items, got shapes \(2,"):
        delong_test([1, 2], [1, 2, 3], [0, 1])
    with pytest.raises(ValueError, match="expected finite scores"):
        delong_test([1, math.nan], [1, 2], [0, 1])
    with pytest.raises(ValueError, match=r"labels of 0 \(normal\) and 1"):
        delong_test([1, 3], [1, 2], [0, 2])
