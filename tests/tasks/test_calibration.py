from __future__ import annotations

import numpy as np
import pytest

from clad.tasks.calibration import NO_THRESHOLDS, fit_thresholds, num_held_out


def fit(normal, budget, category="nut"):
    scores = np.asarray(normal, dtype=np.float64)
    labels = np.zeros(len(scores), dtype=np.int64)
    return fit_thresholds(scores, labels, (category,) * len(scores), budget)


def alarms(scores, threshold: float) -> float:
    """Share called anomalous, by the rule of ``clad.metrics.evaluate``."""
    return float((np.asarray(scores) >= threshold).mean())


@pytest.mark.parametrize(
    ("count", "budget", "rank"),
    [
        # rank = ceil((n + 1)(1 - budget)), counted from 1 below.
        (19, 0.05, 19),
        (20, 0.05, 20),
        (39, 0.05, 38),
        (99, 0.05, 95),
        (100, 0.05, 96),
        (9, 0.3, 7),
        (99, 0.29, 71),  # 100 * 0.29 is a little less than 29 in double precision
        (9, 0.7, 3),
        (9, 0.9, 1),
        (9, 0.99, 1),
    ],
)
def test_threshold_lies_just_above_the_score_of_the_conformal_rank(count, budget, rank):
    normal = np.random.default_rng(0).permutation(count) + 1.0
    threshold = fit(normal, budget).values["nut"]
    assert (normal < threshold).sum() == rank
    assert rank < threshold < rank + 1e-5


@pytest.mark.parametrize(("count", "budget"), [(19, 0.05), (30, 0.05), (40, 0.2), (10, 0.5)])
def test_fresh_normals_raise_no_more_alarms_than_promised(count, budget):
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(2000):
        scores = rng.gamma(2.0, size=count + 100)
        rates.append(alarms(scores[count:], fit(scores[:count], budget).values["nut"]))
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= budget + 3 * error
    # And it is no lower than one image of the calibration set makes it.
    assert np.mean(rates) >= budget - 1 / (count + 1) - 3 * error


def test_tied_scores_break_no_promise():
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(1000):
        scores = rng.integers(0, 3, size=139).astype(float)
        rates.append(alarms(scores[39:], fit(scores[:39], 0.05).values["nut"]))
    assert np.mean(rates) <= 0.05
    assert alarms([1.0] * 50, fit([1.0] * 50, 0.05).values["nut"]) == 0


@pytest.mark.parametrize("level", [0.0, -3.7, 1e6, 1e-20, 0.1])
def test_a_reader_in_single_precision_sees_the_same(level):
    normal = np.full(30, np.float32(level), dtype=np.float64)
    threshold = fit(normal, 0.05).values["nut"]
    assert not (normal.astype(np.float32) >= np.float32(threshold)).any()
    assert float(np.float32(threshold)) == threshold


def test_scores_in_double_precision_lie_below_too():
    normal = np.full(30, 0.1 + 1e-12)
    assert fit(normal, 0.05).values["nut"] > normal[0]


def test_few_images_promise_what_they_can_and_say_so():
    fitted = fit(range(10), 0.05)
    assert 9 < fitted.values["nut"] < 9.001
    assert fitted.source == (
        "10 normal validation images per category, at most 9.1% false alarms "
        "(too few images to promise 5.0%)"
    )
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(3000):
        scores = rng.normal(size=110)
        rates.append(alarms(scores[10:], fit(scores[:10], 0.05).values["nut"]))
    assert np.mean(rates) == pytest.approx(1 / 11, abs=0.01)


def test_enough_images_say_what_was_promised():
    assert fit(range(19), 0.05).source == (
        "19 normal validation images per category, at most 5.0% false alarms"
    )


def test_fewer_than_five_images_give_no_threshold_and_the_reason():
    fitted = fit(range(4), 0.5)
    assert fitted.values == {}
    assert fitted.source == "none: fewer than 5 normal validation images"
    assert fit([], 0.5).values == {}
    assert NO_THRESHOLDS.source.startswith("none: not fitted yet")


def test_anomalous_images_are_ignored():
    normal = np.arange(30.0)
    scores = np.concatenate([normal, np.full(20, 1e6), np.full(20, -1e6)])
    labels = np.repeat([0, 1, 1], [30, 20, 20])
    mixed = fit_thresholds(scores, labels, ("nut",) * 70, 0.1)
    assert mixed == fit(normal, 0.1)


def test_each_category_has_a_threshold_of_its_own():
    scores = np.concatenate([np.arange(30.0), np.arange(40.0) + 100, [5.0]])
    names = ("nut",) * 30 + ("tile",) * 40 + ("wood",)
    order = np.random.default_rng(0).permutation(len(names))
    fitted = fit_thresholds(
        scores[order], np.zeros(71, dtype=np.int64), tuple(names[n] for n in order), 0.1
    )
    assert set(fitted.values) == {"nut", "tile"}
    assert fitted.values["nut"] == fit(np.arange(30.0), 0.1).values["nut"]
    assert fitted.values["tile"] == fit(np.arange(40.0) + 100, 0.1).values["nut"]
    assert fitted.source.startswith("30 to 40 normal validation images")
    assert fitted.source.endswith("; none for wood: fewer than 5")


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1])
def test_a_budget_that_is_no_share_is_refused(budget):
    with pytest.raises(ValueError, match="expected false_alarm_budget in"):
        fit(range(30), budget)


@pytest.mark.parametrize(
    ("num_images", "held_out"),
    [(1, 0), (19, 0), (20, 10), (37, 18), (38, 19), (76, 19), (100, 25), (400, 100)],
)
def test_images_are_held_out_where_a_promise_can_be_made(num_images: int, held_out: int) -> None:
    assert num_held_out(num_images, 0.05) == held_out
    if held_out:
        scores, labels = np.arange(float(held_out)), np.zeros(held_out, dtype=np.int64)
        fitted = fit_thresholds(scores, labels, ("a",) * held_out, 0.05)
        assert ("too few" in fitted.source) == (num_images < 38)


def test_other_budgets_hold_out_other_numbers() -> None:
    assert [num_held_out(n, 0.01) for n in (99, 100, 198, 1000)] == [0, 50, 99, 250]
    assert [num_held_out(n, 0.5) for n in (9, 10, 40)] == [0, 5, 10]
