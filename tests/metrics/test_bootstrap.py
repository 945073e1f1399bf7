from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from clad.metrics.bootstrap import (
    GROUPS,
    _times_drawn,
    _weighted_metrics,
    bootstrap_intervals,
    group_codes,
    group_times,
    weighted_metrics,
)
from clad.metrics.functional.eer import equal_error_rate
from clad.metrics.functional.ranking import rank


def draw(seed=0, size=120, shift=1.0):
    rng = np.random.default_rng(seed)
    labels = (np.arange(size) % 3 == 0).astype(int)
    return np.round(rng.normal(size=size) + shift * labels, 1), labels


def test_a_weighted_resample_equals_scikit_learn_on_the_repeated_images():
    scores, labels = draw()
    ranking = rank(scores, labels)
    rng = np.random.default_rng(1)
    normal = np.sort(scores[labels == 0])[::-1]
    anomalous_times = _times_drawn(ranking.num_anomalous, 20, rng)
    normal_times = _times_drawn(ranking.num_normal, 20, rng)
    found = _weighted_metrics(ranking, anomalous_times, normal_times)
    for i in range(20):
        repeated = np.concatenate(
            [np.repeat(ranking.scores, anomalous_times[i]), np.repeat(normal, normal_times[i])]
        )
        truth = np.repeat([1, 0], [ranking.num_anomalous, ranking.num_normal])
        assert found["auroc"][i] == pytest.approx(sk.roc_auc_score(truth, repeated), abs=1e-12)
        expected = sk.average_precision_score(truth, repeated)
        assert found["ap"][i] == pytest.approx(expected, abs=1e-12)
        assert found["eer"][i] == pytest.approx(equal_error_rate(repeated, truth), abs=1e-12)


def test_interval_has_the_width_that_theory_gives():
    scores, labels = draw(size=900)
    interval = bootstrap_intervals(scores, labels, ["nut"] * 900).per_category["nut"]["image_auroc"]
    value = sk.roc_auc_score(labels, scores)
    # Hanley and McNeil (1982), equation 1, for the standard error of an AUROC.
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    n1, n0 = labels.sum(), (1 - labels).sum()
    variance = value * (1 - value) + (n1 - 1) * (q1 - value**2) + (n0 - 1) * (q2 - value**2)
    error = (variance / (n1 * n0)) ** 0.5
    assert interval.low < value < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_each_image_is_drawn_once_on_average_and_rows_add_up():
    times = _times_drawn(40, 3000, np.random.default_rng(0))
    np.testing.assert_array_equal(times.sum(axis=1), 40)
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.1)


def test_the_seed_decides_and_later_categories_do_not_matter():
    scores, labels = draw()
    alone = bootstrap_intervals(scores, labels, ["nut"] * 120, seed=3)
    assert alone == bootstrap_intervals(scores, labels, ["nut"] * 120, seed=3)
    assert alone != bootstrap_intervals(scores, labels, ["nut"] * 120, seed=4)
    both = bootstrap_intervals(
        np.tile(scores, 2), np.tile(labels, 2), ["nut"] * 120 + ["cell"] * 120, seed=3
    )
    assert both.per_category["nut"] == alone.per_category["nut"]


def test_the_mean_over_categories_is_known_better_than_each():
    parts = [draw(seed) for seed in range(4)]
    scores, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    result = bootstrap_intervals(scores, labels, np.repeat(list("abcd"), 120).tolist())
    widths = [
        row["image_auroc"].high - row["image_auroc"].low for row in result.per_category.values()
    ]
    mean = result.mean["image_auroc"]
    assert mean.high - mean.low == pytest.approx(np.mean(widths) / 2, rel=0.2)


def test_blocks_cover_all_resamples(monkeypatch):
    monkeypatch.setattr("clad.metrics.bootstrap.BLOCK", 120 * 7)
    scores, labels = draw()
    result = bootstrap_intervals(scores, labels, ["nut"] * 120, num_resamples=100)
    low, high = result.per_category["nut"]["image_ap"]
    assert 0 < low < high < 1


def test_one_class_has_no_interval_and_does_not_spoil_the_mean():
    scores, labels = draw()
    names = ["nut"] * 119 + ["cell"]
    result = bootstrap_intervals(scores, labels, names)
    assert set(result.per_category) == {"nut"}
    assert result.mean == result.per_category["nut"]
    assert bootstrap_intervals([1.0], [0], ["nut"]).mean == {}


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"confidence in \(0, 1\), got 95"):
        bootstrap_intervals([1.0], [0], ["nut"], confidence=95)
    with pytest.raises(ValueError, match="num_resamples >= 1, got 0"):
        bootstrap_intervals([1.0], [0], ["nut"], num_resamples=0)


def grouped(num_groups=60, size=8, seed=0):
    """Images of one group share most of their score; every second group is anomalous."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_groups) % 2, size)
    scores = np.repeat(rng.normal(size=num_groups), size) + labels
    groups = np.repeat([f"v{number}" for number in range(num_groups)], size).tolist()
    return scores + 0.01 * rng.normal(size=len(labels)), labels, groups


def test_groups_are_drawn_whole_within_their_stratum():
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    codes = np.array([0, 0, 1, 2, 2, 3, 4, 4])  # two normal, two anomalous, one mixed
    times = group_times(labels, codes, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(times[:, 0], times[:, 1])
    np.testing.assert_array_equal(times[:, 3], times[:, 4])
    np.testing.assert_array_equal(times[:, [0, 2]].sum(axis=1), 2)
    np.testing.assert_array_equal(times[:, [3, 5]].sum(axis=1), 2)
    np.testing.assert_array_equal(times[:, 6:], 1)
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.1)


def test_weights_of_groups_equal_scikit_learn_on_the_repeated_images():
    scores, labels, groups = grouped(num_groups=20)
    scores = np.round(scores, 1)
    order = np.random.default_rng(1).permutation(len(scores))
    scores, labels = scores[order], labels[order]
    codes = group_codes([groups[n] for n in order], len(scores))
    times = group_times(labels, codes, 10, np.random.default_rng(2))
    found = weighted_metrics(rank(scores, labels), scores, labels, times)
    for i in range(10):
        repeated, truth = np.repeat(scores, times[i]), np.repeat(labels, times[i])
        assert found["auroc"][i] == pytest.approx(sk.roc_auc_score(truth, repeated), abs=1e-12)
        expected = sk.average_precision_score(truth, repeated)
        assert found["ap"][i] == pytest.approx(expected, abs=1e-12)
        assert found["eer"][i] == pytest.approx(equal_error_rate(repeated, truth), abs=1e-12)


def test_copies_of_an_image_do_not_narrow_an_interval_by_group():
    scores, labels, groups = grouped()
    names = ["face"] * len(labels)
    by_group = bootstrap_intervals(scores, labels, names, groups=groups)
    by_image = bootstrap_intervals(scores, labels, names)
    videos = bootstrap_intervals(scores[::8], labels[::8], names[::8])
    widths = [each.mean["image_auroc"].high - each.mean["image_auroc"].low
              for each in (by_group, by_image, videos)]  # fmt: skip
    assert widths[0] == pytest.approx(widths[2], rel=0.15)
    assert widths[1] == pytest.approx(widths[2] / 8**0.5, rel=0.25)
    assert by_group.unit == GROUPS


def test_groups_of_one_image_are_images_and_the_level_names_the_metric():
    scores, labels = draw()
    alone = bootstrap_intervals(scores, labels, ["nut"] * 120, groups=[None] * 120, level="video")
    plain = bootstrap_intervals(scores, labels, ["nut"] * 120)
    assert set(alone.mean) == {"video_auroc", "video_ap", "video_eer"}
    assert alone.mean["video_eer"] == pytest.approx(plain.mean["image_eer"], abs=0.03)


def test_a_single_group_of_a_kind_has_no_interval():
    labels = np.array([0, 0, 1, 1])
    found = bootstrap_intervals(np.arange(4.0), labels, ["face"] * 4, groups=["a", "b", "c", "c"])
    assert found.per_category == {}
    with pytest.raises(ValueError, match="one group per score, got 1 for 4 scores"):
        bootstrap_intervals(np.arange(4.0), labels, ["face"] * 4, groups=["a"])
