from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.eer import equal_error_rate
from clad.metrics.paired import paired_difference, paired_differences


def two_detectors(gain=0.0, size=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 2
    shared = rng.normal(size=size) + labels
    first = shared + gain * labels + 0.2 * rng.normal(size=size)
    return first, shared + 0.2 * rng.normal(size=size), labels


def test_value_is_the_difference_of_the_metrics_and_mean_over_categories():
    first, second, labels = two_detectors(gain=0.3)
    names = np.repeat(["a", "b"], 150).tolist()
    aurocs = [
        sk.roc_auc_score(labels[rows], first[rows]) - sk.roc_auc_score(labels[rows], second[rows])
        for rows in (slice(0, 150), slice(150, 300))
    ]
    found = paired_difference(first, second, labels, names)
    assert found.value == pytest.approx(sum(aurocs) / 2)
    assert found.interval.low < found.value < found.interval.high
    eer = paired_difference(first, second, labels, ["a"] * 300, metric="eer")
    expected = equal_error_rate(first, labels) - equal_error_rate(second, labels)
    assert eer.value == pytest.approx(expected)


def test_equal_detectors_do_not_differ_and_a_gain_is_seen():
    first, second, labels = two_detectors()
    names = ["a"] * 300
    same = paired_difference(first, first, labels, names)
    assert (same.value, same.interval, same.p_value) == (0, (0, 0), 1)
    chance = paired_difference(first, second, labels, names)
    assert chance.interval.low < 0 < chance.interval.high
    better, second, labels = two_detectors(gain=0.6)
    seen = paired_difference(better, second, labels, names)
    assert seen.interval.low > 0
    assert seen.p_value < 0.01
    back = paired_difference(second, better, labels, names)
    assert back.value == pytest.approx(-seen.value)
    assert back.interval.low == pytest.approx(-seen.interval.high)


def test_pairing_is_narrower_than_two_intervals_and_groups_are_wider():
    first, second, labels = two_detectors(gain=0.3)
    paired = paired_difference(first, second, labels, ["a"] * 300).interval
    rng = np.random.default_rng(0)
    alone = []
    for _ in range(300):
        values = []
        for scores in (first, second):
            drawn = np.concatenate(
                [rng.choice(np.flatnonzero(labels == label), 150) for label in (0, 1)]
            )
            values.append(auroc(scores[drawn], labels[drawn]))
        alone.append(values[0] - values[1])
    assert paired.high - paired.low < 0.8 * np.ptp(np.percentile(alone, [2.5, 97.5]))
    repeated = [np.repeat(each, 4) for each in (first, second, labels)]
    groups = np.repeat([f"v{n}" for n in range(300)], 4).tolist()
    by_group = paired_difference(*repeated, ["a"] * 1200, groups, num_resamples=400).interval
    by_image = paired_difference(*repeated, ["a"] * 1200, num_resamples=400).interval
    width = paired.high - paired.low
    assert by_group.high - by_group.low == pytest.approx(width, rel=0.2)
    assert by_image.high - by_image.low == pytest.approx(width / 4**0.5, rel=0.25)


def test_a_category_of_one_class_is_left_out_and_alone_undefined():
    first, second, labels = two_detectors()
    names = ["a"] * 299 + ["b"]
    found = paired_difference(first, second, labels, names)
    assert found.left_out == ("b",)
    assert math.isfinite(found.value)
    alone = paired_difference([1.0], [2.0], [0], ["b"])
    assert math.isnan(alone.value)
    assert math.isnan(alone.interval.low)
    assert alone.left_out == ("b",)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="scores of both, labels and categories of the same imag"):
        paired_difference([1.0], [1.0, 2.0], [0], ["a"])
    with pytest.raises(ValueError, match="expected metric to be one of ap, auroc, eer; got 'f1'"):
        paired_difference([1.0], [1.0], [0], ["a"], metric="f1")
    with pytest.raises(ValueError, match=r"confidence in \(0, 1\)"):
        paired_difference([1.0], [1.0], [0], ["a"], confidence=2)


def test_categories_and_their_mean_come_from_one_set_of_draws():
    first, second, labels = two_detectors(gain=0.3)
    names = np.repeat(["a", "b"], 150).tolist()
    found = paired_differences(first, second, labels, names, num_resamples=200)
    for metric, each in found.items():
        assert each.mean == paired_difference(
            first, second, labels, names, metric=metric, num_resamples=200
        )
        values = [difference.value for difference in each.per_category.values()]
        assert each.mean.value == pytest.approx(sum(values) / 2)
        widths = [np.ptp(difference.interval) for difference in each.per_category.values()]
        assert np.ptp(each.mean.interval) == pytest.approx(np.hypot(*widths) / 2, rel=0.25)
    alone = paired_differences(first[:150], second[:150], labels[:150], ["a"] * 150, None, ["ap"])
    assert alone["ap"].per_category["a"] == alone["ap"].mean


def test_by_hand_with_two_images_of_each_kind():
    # First ranks perfectly. Second has one anomalous image below both normal ones; a resample
    # draws it 0, 1 or 2 times of 2 (chances 1/4, 1/2, 1/4): differences 0, 1/2 and 1.
    found = paired_difference([3, 4, 1, 2], [3, 0, 1, 2], [1, 1, 0, 0], ["a"] * 4)
    assert found.value == 0.5
    assert found.interval == (0, 1)
    assert found.p_value == pytest.approx(2 * 0.25, abs=0.08)
