"""Brier score, reliability and calibration error against tables and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from clad.metrics.functional.brier import brier_score, expected_calibration_error, reliability

# Bins of a fifth: [0, .2) holds .1 .1; [.4, .6) holds .5; [.8, 1] holds .8 and 1.
PROMISED = np.array([0.1, 0.1, 0.5, 0.8, 1.0])
CAME = np.array([0, 1, 1, 0, 1])


def test_a_table_computed_by_hand() -> None:
    assert brier_score(PROMISED, CAME) == pytest.approx((0.01 + 0.81 + 0.25 + 0.64 + 0) / 5)
    bins = reliability(PROMISED, CAME, num_bins=5)
    np.testing.assert_allclose(bins.probability, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(bins.anomalous, [0.5, 1.0, 0.5])
    assert bins.num_images.tolist() == [2, 1, 2]
    by_hand = (2 * 0.4 + 1 * 0.5 + 2 * 0.4) / 5
    assert expected_calibration_error(PROMISED, CAME, num_bins=5) == pytest.approx(by_hand)


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_agrees(seed) -> None:
    rng = np.random.default_rng(seed)
    promised = rng.random(200)
    came = (rng.random(200) < promised**2).astype(int)
    assert brier_score(promised, came) == pytest.approx(brier_score_loss(came, promised))
    bins = reliability(promised, came)
    share, mean = calibration_curve(came, promised, n_bins=10)
    np.testing.assert_allclose(bins.anomalous, share)
    np.testing.assert_allclose(bins.probability, mean)


def test_true_probabilities_have_a_small_error_and_wrong_ones_their_offset() -> None:
    rng = np.random.default_rng(0)
    promised = rng.uniform(0.3, 0.6, size=200_000)
    came = (rng.random(200_000) < promised).astype(int)
    assert expected_calibration_error(promised, came) < 0.01
    assert expected_calibration_error(promised + 0.3, came) == pytest.approx(0.3, abs=0.01)


def test_nothing_has_no_value_and_scores_are_refused() -> None:
    empty = np.empty(0)
    assert math.isnan(brier_score(empty, empty))
    assert math.isnan(expected_calibration_error(empty, empty))
    for metric in (brier_score, expected_calibration_error):
        with pytest.raises(ValueError, match=r"in \[0, 1\], got 0.5 to 3.0; raw scores need"):
            metric(np.array([0.5, 3.0]), np.array([0, 1]))
