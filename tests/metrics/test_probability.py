"""Probabilities fitted on labelled scores, against scikit-learn and Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from clad.metrics.functional.brier import expected_calibration_error
from clad.metrics.functional.isotonic import apply_isotonic, fit_isotonic
from clad.metrics.functional.platt import apply_platt, fit_platt, smoothed_labels
from clad.metrics.probability import FEWEST_FOR_ISOTONIC, Probability, fit_probability


def drawn(num_normal, num_anomalous, apart=1.5, seed=0, scale=1.0, shift=0.0):
    """Scores of two normal distributions: the true log-odds are a line in the score."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [num_normal, num_anomalous])
    scores = rng.normal(size=len(labels)) + apart * labels
    return scale * scores + shift, labels


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-4, 0.0), (500.0, -3e4)])
@pytest.mark.parametrize("seed", range(3))
def test_platt_is_the_logistic_regression_of_smoothed_labels(seed, scale, shift) -> None:
    scores, labels = drawn(40, 25, seed=seed, scale=scale, shift=shift)
    found = apply_platt(fit_platt(scores, labels), scores)
    # A soft label is an item of each kind, weighted; standardised for the solver's sake.
    targets = smoothed_labels(labels)
    column = ((scores - scores.mean()) / scores.std())[:, None]
    peer = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(
        np.concatenate([column, column]),
        np.repeat([1, 0], len(labels)),
        np.concatenate([targets, 1 - targets]),
    )
    np.testing.assert_allclose(found, peer.predict_proba(column)[:, 1], atol=1e-6)


def test_smoothed_labels_by_hand() -> None:
    np.testing.assert_allclose(smoothed_labels(np.array([0, 0, 1])), [1 / 4, 1 / 4, 2 / 3])


def test_separated_scores_stay_away_from_certainty() -> None:
    scores, labels = np.append(np.arange(20.0), 100 + np.arange(20.0)), np.repeat([0, 1], 20)
    for found in (
        apply_platt(fit_platt(scores, labels), scores),
        apply_isotonic(fit_isotonic(scores, labels), scores),
    ):
        assert found[:20].max() <= 0.08
        assert found[20:].min() >= 0.92
        assert 0 < found.min() <= found.max() < 1
    flat = fit_platt(np.ones(4), np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(apply_platt(flat, np.array([0.0, 1.0])), 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_isotonic_is_the_smoothed_isotonic_regression(seed) -> None:
    scores, labels = drawn(60, 40, seed=seed)
    scores = np.round(scores, 1)  # ties
    plain = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    low, high = 1 / 62, 41 / 42
    asked = np.linspace(-6, 6, 301)
    found = apply_isotonic(fit_isotonic(scores, labels), asked)
    np.testing.assert_allclose(found, low + (high - low) * plain.predict(asked), atol=1e-12)
    assert (np.diff(found) >= 0).all()


def test_auto_takes_isotonic_only_from_many_images_on() -> None:
    few = fit_probability(*drawn(FEWEST_FOR_ISOTONIC, FEWEST_FOR_ISOTONIC - 1), "auto")[0]
    many = fit_probability(*drawn(FEWEST_FOR_ISOTONIC, FEWEST_FOR_ISOTONIC), "auto")[0]
    assert (few.method, many.method) == ("platt", "isotonic")
    assert fit_probability(*drawn(30, 30), "isotonic")[0].method == "isotonic"


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_probabilities_of_fresh_images_are_right(method) -> None:
    found, _ = fit_probability(*drawn(4000, 2000, seed=1), method)
    scores, labels = drawn(40_000, 20_000, seed=2)
    assert expected_calibration_error(found(scores), labels) < 0.02


def test_another_prevalence_follows_bayes_rule_and_is_right_there() -> None:
    scores, labels = drawn(4000, 2000, seed=1)
    fitted, _ = fit_probability(scores, labels, "platt")
    moved, source = fit_probability(scores, labels, "platt", prevalence=0.05)
    asked = np.linspace(-3, 4, 50)
    as_fitted = fitted(asked)
    odds = as_fitted / (1 - as_fitted) * (0.05 / 0.95) / (1 / 2)
    np.testing.assert_allclose(moved(asked), odds / (1 + odds))
    rare, truth = drawn(95_000, 5_000, seed=3)
    assert expected_calibration_error(moved(rare), truth) < 0.01
    assert expected_calibration_error(fitted(rare), truth) > 0.1
    assert source.endswith("validation images, re-weighted from 33.3% to 0.05 anomalous")
    same = Probability("platt", 4000, 2000, fitted.logistic, (), 1 / 3)
    np.testing.assert_allclose(same(asked), as_fitted)


@pytest.mark.parametrize(
    ("scores_and_labels", "method", "reason"),
    [
        (drawn(500, 0), "auto", "none: no anomalous validation images, and normal ones alone"),
        (drawn(500, 19), "auto", "none: 500 normal and 19 anomalous validation images, at least"),
        (drawn(19, 500), "platt", "none: 19 normal and 500 anomalous validation images"),
        (drawn(50, 50), "none", "none: switched off"),
        (drawn(50, 50, apart=-2), "platt", "none: anomalous validation images do not score higher"),
        (drawn(50, 50, apart=-9), "isotonic", "none: anomalous validation images do not score"),
    ],
)
def test_no_probability_without_grounds(scores_and_labels, method, reason) -> None:
    found, source = fit_probability(*scores_and_labels, method)
    assert found is None
    assert source.startswith(reason)


def test_the_source_says_where_it_holds() -> None:
    _, source = fit_probability(*drawn(40, 20), "auto")
    assert source == (
        "Platt's logistic curve on 40 normal and 20 anomalous validation images; right only where "
        "33.3% of the images are anomalous"
    )
