"""AUROC, average precision and F1-max against scikit-learn, hand-computed values and invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.average_precision import average_precision
from clad.metrics.functional.f1_max import f1_max
from clad.metrics.functional.validate import undefined_reason

ALL = (auroc, average_precision, f1_max)


def sklearn_f1_max(labels, scores):
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    total = precision + recall
    return (2 * precision * recall / np.where(total == 0, 1, total)).max()


def random_case(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 300))
    labels = rng.random(size) < rng.uniform(0.02, 0.98)
    labels[:2] = (True, False)
    scores = rng.normal(size=size) + labels * rng.normal()
    ties = rng.integers(0, 4)
    if ties:
        scores = np.round(scores * ties) / ties
    return scores.astype(rng.choice([np.float32, np.float64])), labels.astype(int)


@pytest.mark.parametrize("seed", range(60))
def test_values_equal_scikit_learn_with_and_without_ties(seed):
    scores, labels = random_case(seed)
    assert auroc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    expected = sk.average_precision_score(labels, scores)
    assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)
    assert f1_max(scores, labels) == pytest.approx(sklearn_f1_max(labels, scores), abs=1e-12)


def test_values_computed_by_hand():
    # By falling score: anomalous, normal, (anomalous, normal) tied, normal.
    scores, labels = [5, 4, 3, 3, 1], [1, 0, 1, 0, 0]
    # Pairs: the first wins 3 of 3; the second loses one, ties one, wins one.
    assert auroc(scores, labels) == pytest.approx(4.5 / 6)
    # Recall 1/2 at precision 1, then 1/2 more at precision 2/4.
    assert average_precision(scores, labels) == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    # Threshold 5: 2*1/(1+2); threshold 3: 2*2/(4+2).
    assert f1_max(scores, labels) == pytest.approx(2 / 3)


def test_perfect_inverted_and_constant_scores():
    labels = np.array([0, 0, 0, 1])
    assert [metric([1, 2, 3, 4], labels) for metric in ALL] == [1, 1, 1]
    assert auroc([4, 3, 2, 1], labels) == 0
    assert average_precision([4, 3, 2, 1], labels) == 0.25
    assert [metric([7, 7, 7, 7], labels) for metric in ALL] == [0.5, 0.25, 0.4]


@pytest.mark.parametrize("seed", range(10))
def test_flipped_sign_gives_the_complement(seed):
    scores, labels = random_case(seed)
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-12)
    assert auroc(scores, 1 - labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-12)


@pytest.mark.parametrize("metric", ALL)
def test_order_shape_and_increasing_maps_of_scores_do_not_matter(metric):
    scores, labels = random_case(3)
    value = metric(scores, labels)
    shuffled = np.random.default_rng(0).permutation(len(scores))
    assert metric(scores[shuffled], labels[shuffled]) == value
    assert metric(np.exp(scores.astype(float)), labels) == value
    assert metric(scores[None, :, None], labels[None, :, None].astype(bool)) == value


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("labels", "reason"),
    [([], "no images"), ([0, 0], "no anomalous image"), ([1, 1], "no normal image")],
)
def test_one_class_is_undefined_with_a_reason(metric, labels, reason):
    assert math.isnan(metric(np.arange(len(labels), dtype=float), labels))
    assert undefined_reason(labels) == reason


def test_both_classes_have_no_reason():
    assert undefined_reason([0, 1]) is None
    assert undefined_reason(np.ones((2, 2), dtype=bool), "pixel") == "no normal pixel"


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(metric, broken):
    with pytest.raises(ValueError, match="expected finite scores, got 1 of 3 that are NaN"):
        metric([0.0, broken, 1.0], [0, 1, 1])


def test_infinities_of_both_signs_are_counted_and_large_scores_are_fine():
    with pytest.raises(ValueError, match="got 2 of 2"):
        auroc([np.inf, -np.inf], [0, 1])
    assert auroc([1e308, 1.7e308, 1.7e308], [0, 1, 1]) == 1


@pytest.mark.parametrize("metric", ALL)
def test_other_shapes_and_labels_are_refused(metric):
    with pytest.raises(ValueError, match=r"labels of the shape of the scores \(3,\), got \(2,\)"):
        metric([0.0, 1.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match=r"labels of 0 \(normal\) and 1 \(anomalous\)"):
        metric([0.0, 1.0, 2.0], [0, 1, 2])


def test_half_precision_and_integers_are_taken():
    labels = [0, 1, 1]
    assert auroc(np.array([1, 2, 3], dtype=np.float16), labels) == 1
    assert auroc(np.array([3, 2, 1]), labels) == 0


def test_the_arguments_are_left_alone():
    scores, labels = random_case(1)
    before = scores.copy()
    auroc(scores, labels)
    np.testing.assert_array_equal(scores, before)
