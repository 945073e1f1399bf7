"""What validation says about scores: fitted, kept in a checkpoint, and asked for another rule."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from clad.heads.image_text import ImageText
from clad.metrics.calibrated import BRIER, ECE, standing_columns, with_probabilities
from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluate import evaluate
from clad.metrics.functional.best_threshold import best_threshold
from clad.metrics.functional.brier import brier_score
from clad.metrics.score_calibration import NO_STANDING, fit_calibrations
from clad.metrics.settings import MetricSettings
from clad.samples import Origin
from clad.tasks.calibration import NO_THRESHOLDS, fit_thresholds
from clad.tasks.checkpoint import read_entries, write_entries
from clad.tasks.level_thresholds import fit_level_thresholds
from clad.tasks.rethreshold import given_thresholds, refit, rethreshold, without_validation

ROOT = Path(__file__).parents[2]
NAMES = ("nut", "tile")
PLATT = MetricSettings()
ASKED = np.linspace(-4, 8, 97)


def validation(num_normal=60, num_anomalous=30, names=NAMES, seed=0, origins=()):
    """Scores of several categories, each shifted by 2 from the last."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat([0, 1], [num_normal, num_anomalous]), len(names))
    each = np.repeat(np.arange(len(names)), num_normal + num_anomalous)
    scores = np.float32(rng.normal(size=len(labels)) + 1.5 * labels + 2 * each)
    return CollectedPredictions(
        paths=tuple(f"{n}.png" for n in range(len(labels))),
        categories=tuple(names[k] for k in each),
        defect_types=tuple("dent" if label else "good" for label in labels),
        labels=labels,
        scores=scores.astype(np.float64),
        has_mask=np.zeros(len(labels), dtype=bool),
        origins=tuple(origins),
    )


def stored_and_read(thresholds, names=NAMES, wanted=None):
    """Through a file, as a checkpoint goes."""
    entries: dict = {}
    write_entries(entries, names, thresholds)
    file = io.BytesIO()
    torch.save(entries, file)
    file.seek(0)
    return read_entries(torch.load(file, weights_only=True), wanted or names, ImageText())[1]


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (MetricSettings(), 60),
        (MetricSettings(probability="isotonic", prevalence=0.01), 60),
        (MetricSettings(threshold_rule="f1"), 60),
        (MetricSettings(shared_threshold=True), 60),
        (MetricSettings(threshold_rule="given", threshold={"nut": 0.1, "tile": 1 / 3}), 60),
        (MetricSettings(), 3000),
    ],
)
def test_a_checkpoint_keeps_every_bit(settings, size) -> None:
    fitted = fit_level_thresholds(validation(size), 0.07, settings, NAMES)
    again = stored_and_read(fitted)
    assert again == fitted
    assert rethreshold(again, settings, 0.07, NAMES) == fitted
    for name in NAMES:
        for score in ASKED:
            assert again.standing(name, score) == fitted.standing(name, score)
        assert fitted.standing(name, 1.0).probability is not None


def test_levels_are_kept_with_their_own_scores() -> None:
    origins = [Origin(str(n // 2), f"v{n // 6}") for n in range(180)]
    found = validation(180, 0, ("face",), origins=origins)
    fitted = fit_level_thresholds(found, 0.1, MetricSettings(), ("face",))
    again = stored_and_read(fitted, ("face",))
    assert again == fitted
    videos = found.scores.reshape(30, 3, 2).max(axis=2).mean(axis=1)
    video = again.levels["video"].calibrations["face"]
    assert video.normals.values == tuple(np.sort(videos))
    assert video.probability_source.startswith("none: no anomalous validation videos")
    tighter = refit(again, 0.04)
    assert tighter.levels["video"].values["face"] > again.levels["video"].values["face"]
    assert "normal validation videos" in tighter.levels["video"].source


def test_an_older_checkpoint_loads_and_says_what_it_lacks() -> None:
    entries: dict = {}
    write_entries(entries, NAMES, fit_level_thresholds(validation(), 0.05, PLATT, NAMES))
    own = entries["clad"]
    older = {key: own[key] for key in ("class_names", "thresholds", "threshold_source")}
    read = read_entries({"clad": older}, NAMES, ImageText())[1]
    assert rethreshold(read, PLATT, 0.01, NAMES) is not None
    assert rethreshold(read, PLATT, 0.01, NAMES).values == own["thresholds"]
    assert read.standing("nut", 1.0) == NO_STANDING
    assert read.calibration_source == "none: no scores of normal validation images are kept"
    with pytest.raises(ValueError, match="expected the scores of normal validation images, which"):
        refit(read, 0.01)


def test_another_budget_is_met_on_the_stored_scores() -> None:
    found = validation()
    stored = stored_and_read(fit_level_thresholds(found, 0.05, PLATT, NAMES))
    moved = rethreshold(stored, PLATT, 0.02, NAMES)
    fresh = fit_thresholds(found.scores, found.labels, found.categories, 0.02)
    assert moved.values == fresh.values
    assert moved.source == f"fitted anew on the stored scores: {fresh.source}"
    together = fit_thresholds(found.scores, found.labels, ("x",) * len(found), 0.02)
    assert moved.one_threshold == together.values["x"]
    assert moved.calibrations == stored.calibrations
    # And back: what was trained.
    assert rethreshold(moved, PLATT, 0.05, NAMES).values == stored.values


def test_of_very_many_scores_the_budget_is_still_kept() -> None:
    found = validation(4000, 0, ("nut",))
    stored = fit_level_thresholds(found, 0.05, PLATT, ("nut",))
    moved = refit(stored, 0.013)
    exact = fit_thresholds(found.scores, found.labels, found.categories, 0.013)
    assert moved.values["nut"] >= exact.values["nut"]
    called = (found.scores >= moved.values["nut"]).mean()
    assert 0.013 - 0.0015 <= called <= 0.013


def test_a_given_threshold_replaces_fitted_ones_and_percentiles_stay() -> None:
    stored = stored_and_read(fit_level_thresholds(validation(), 0.05, PLATT, NAMES))
    given = rethreshold(stored, MetricSettings(threshold_rule="given", threshold=0.7), 0.05, NAMES)
    assert given.values == {"nut": 0.7, "tile": 0.7}
    assert given.one_threshold == given.of("whatever else") == 0.7
    assert given.source == "given: 0.7 for every category"
    assert given.levels["video"].values == given.values
    assert given.standing("nut", 1.0) == stored.standing("nut", 1.0)
    assert given.standing("whatever else", 1.0) == NO_STANDING
    # Stored as it is, and fitted again later, each category on its own scores.
    back = rethreshold(stored_and_read(given), PLATT, 0.05, NAMES)
    assert back.values == stored.values
    assert not back.is_shared
    assert stored_and_read(given, wanted=["cat"]).calibrations == {}


def test_given_thresholds_need_no_images_and_every_category() -> None:
    each = MetricSettings(threshold_rule="given", threshold={"nut": 1, "tile": 2.5, "other": 3})
    assert given_thresholds(each, NAMES).values == {"nut": 1.0, "tile": 2.5}
    assert given_thresholds(each, NAMES).one_threshold is None
    assert without_validation(each, NAMES).values == {"nut": 1.0, "tile": 2.5}
    assert without_validation(PLATT, NAMES) is NO_THRESHOLDS
    with pytest.raises(ValueError, match=r"got none for cat \(there are nut, tile, other\)"):
        given_thresholds(each, ["nut", "cat"])


def test_labelled_rules_cannot_be_fitted_on_what_is_kept() -> None:
    stored = fit_level_thresholds(validation(), 0.05, PLATT, NAMES)
    with pytest.raises(ValueError, match="whose thresholds were fitted by f1, got false_alarms"):
        rethreshold(stored, MetricSettings(threshold_rule="f1"), 0.05, NAMES)
    labelled = fit_level_thresholds(validation(), 0.05, MetricSettings(threshold_rule="f1"), NAMES)
    assert rethreshold(labelled, MetricSettings(threshold_rule="f1"), 0.01, NAMES) == labelled
    assert rethreshold(labelled, PLATT, 0.05, NAMES).values == stored.values


def test_the_threshold_for_all_is_fitted_by_the_same_rule() -> None:
    found = validation()
    for rule in ("f1", "balanced_accuracy"):
        fitted = fit_level_thresholds(found, 0.05, MetricSettings(threshold_rule=rule), NAMES)
        assert fitted.one_threshold == best_threshold(found.scores, found.labels, rule)
    alone = fit_level_thresholds(validation(names=("nut",)), 0.05, PLATT, ("nut",))
    assert (alone.one_threshold, alone.all_normals) == (None, None)


def test_prevalence_and_switch_of_a_checkpoint_can_change() -> None:
    stored = fit_level_thresholds(validation(), 0.05, PLATT, NAMES)
    rare = rethreshold(stored, MetricSettings(prevalence=0.01), 0.05, NAMES)
    assert rare.standing("nut", 2.0).probability < stored.standing("nut", 2.0).probability
    assert "re-weighted from 33.3% to 0.01 anomalous" in rare.calibration_source
    off = rethreshold(stored, MetricSettings(probability="none"), 0.05, NAMES)
    assert off.standing("nut", 2.0).probability is None
    assert off.standing("nut", 2.0).percentile == stored.standing("nut", 2.0).percentile
    assert off.calibration_source.endswith("none: switched off (model.metrics.probability)")


def test_too_few_normal_images_give_no_calibration() -> None:
    found = validation(4, 0, ("nut",))
    assert fit_calibrations(found.scores, found.labels, found.categories, PLATT) == {}
    five = validation(5, 0, ("nut",))
    (known,) = fit_calibrations(five.scores, five.labels, five.categories, PLATT).values()
    assert known.standing(99.0) == (100.0, 1000 / 6, None)


def test_sentences_name_counts_resolution_and_reason() -> None:
    assert fit_level_thresholds(validation(), 0.05, PLATT, NAMES).calibration_source == (
        "percentile among 60 normal validation images per category, false alarms no finer than "
        "16.4 per 1,000; probability Platt's logistic curve on 60 normal and 30 anomalous "
        "validation images; right only where 33.3% of the images are anomalous"
    )
    one = fit_level_thresholds(validation(19, 0, ("nut",)), 0.05, PLATT, ("nut",))
    assert one.calibration_source == (
        "percentile among 19 normal validation images, false alarms no finer than 50 per 1,000; "
        "probability none: no anomalous validation images, and normal ones alone do not say how "
        "likely an anomaly is"
    )


def test_metrics_of_probabilities_are_taken_where_there_are_some() -> None:
    calibrations = fit_level_thresholds(validation(), 0.05, PLATT, NAMES).calibrations
    test = validation(40, 20, seed=5)
    found = with_probabilities(evaluate(test), test, calibrations)
    for name in NAMES:
        rows = test.rows_of(name)
        own = calibrations[name].probability(test.scores[rows])
        assert found.per_category[name][BRIER] == brier_score(own, test.labels[rows])
        assert 0 < found.per_category[name][ECE] < 0.2
    assert found.mean[BRIER] == pytest.approx(
        np.mean([r[BRIER] for r in found.per_category.values()])
    )
    partly = with_probabilities(evaluate(test), test, {"nut": calibrations["nut"]})
    assert np.isnan(partly.per_category["tile"][BRIER])
    assert partly.undefined[-1] == (
        "image_brier, image_ece of tile: no probability, no normal scores"
    )
    before = evaluate(test)
    assert with_probabilities(before, test, {}) is before


def test_columns_of_many_images_are_those_of_each() -> None:
    calibrations = fit_level_thresholds(validation(), 0.05, PLATT, NAMES).calibrations
    scores, names = np.array([0.5, 2.0, 9.0]), ("nut", "tile", "other")
    columns = standing_columns(scores, names, calibrations)
    for row, name in enumerate(NAMES):
        each = calibrations[name].standing(scores[row])
        assert tuple(values[row] for values in columns.values()) == each
    assert all(np.isnan(values[2]) for values in columns.values())
    assert standing_columns(scores, names, {}) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 0.5}, "threshold_rule: given, and only then; got threshold 0.5 with the"),
        ({"threshold_rule": "given"}, "got threshold None with the rule given"),
        ({"threshold_rule": "given", "threshold": {"a": float("nan")}}, "expected finite"),
        ({"probability": "sure"}, "expected probability among none, platt, isotonic, auto"),
        ({"prevalence": 0.0}, "expected prevalence in"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values, message) -> None:
    with pytest.raises(ValueError, match=message):
        MetricSettings(**values)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs" / "metrics").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_file_of_settings_is_read(path) -> None:
    content = yaml.safe_load(path.read_text())
    assert set(content["model"]) == {"metrics"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--metrics", type=MetricSettings)
    found = parser.instantiate_classes(parser.parse_object(content["model"])).metrics
    for name, value in content["model"]["metrics"].items():
        assert getattr(found, name) == value


def test_thresholds_per_category_are_read_from_the_command_line() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--metrics", type=MetricSettings)
    words = ["--metrics.threshold_rule=given", "--metrics.threshold={nut: 0.7, tile: 2}"]
    found = parser.instantiate_classes(parser.parse_args(words)).metrics
    assert found.threshold == {"nut": 0.7, "tile": 2}
