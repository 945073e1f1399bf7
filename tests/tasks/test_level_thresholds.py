"""Thresholds of images, frames and videos, and the one with the best value on labelled images."""

from __future__ import annotations

import numpy as np
import pytest

from clad.heads.image_text import ImageText
from clad.metrics.collector import CollectedPredictions
from clad.metrics.functional.best_threshold import best_threshold
from clad.metrics.settings import MetricSettings
from clad.samples import Origin
from clad.tasks.calibration import NO_THRESHOLDS, fit_thresholds
from clad.tasks.checkpoint import read_entries, write_entries
from clad.tasks.level_thresholds import fit_labelled, fit_level_thresholds


def collect(scores, labels, origins=(), categories=None):
    size = len(scores)
    return CollectedPredictions(
        paths=tuple(f"{i}.png" for i in range(size)),
        categories=tuple(categories or ("face",) * size),
        defect_types=tuple("fake" if label else "good" for label in labels),
        labels=np.asarray(labels),
        scores=np.asarray(scores, dtype=np.float64),
        has_mask=np.zeros(size, dtype=bool),
        origins=tuple(origins),
    )


def value_at(threshold, scores, labels, goal):
    called = scores >= threshold
    recall = called[labels == 1].mean()
    if goal == "balanced_accuracy":
        return (recall + 1 - called[labels == 0].mean()) / 2
    return 2 * (called & (labels == 1)).sum() / (called.sum() + labels.sum())


@pytest.mark.parametrize("goal", ["balanced_accuracy", "f1"])
@pytest.mark.parametrize("seed", range(20))
def test_no_other_threshold_is_better(seed, goal):
    rng = np.random.default_rng(seed)
    labels = np.append((rng.random(30) < 0.4).astype(int), [0, 1])
    scores = np.float32(np.round(rng.normal(size=32) + labels, 1)).astype(np.float64)
    threshold = best_threshold(scores, labels, goal)
    candidates = [*np.unique(scores), scores.max() + 1]
    values = [value_at(each, scores, labels, goal) for each in candidates]
    assert value_at(threshold, scores, labels, goal) == pytest.approx(max(values))
    # Of equally good ones the largest, so nothing better lies above it.
    best = [c for c, v in zip(candidates, values, strict=True) if v > max(values) - 1e-12]
    assert threshold <= max(best)
    assert (scores >= threshold).sum() == (scores >= max(best)).sum()
    assert float(np.float32(threshold)) == threshold


def test_thresholds_computed_by_hand():
    assert best_threshold(np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 0, 1, 1]), "f1") == 3.0
    # Inverted scores: F1 calls everything, balanced accuracy calls nothing.
    inverted = (np.array([1.0, 2.0]), np.array([1, 0]))
    assert best_threshold(*inverted, "f1") == 1.0
    assert best_threshold(*inverted, "balanced_accuracy") > 2.0
    near = np.float32([1.0, np.nextafter(np.float32(1), np.float32(2))])
    assert best_threshold(near, np.array([0, 1]), "f1") == near[1]
    with pytest.raises(ValueError, match="expected normal and anomalous items, got 2 and 0"):
        best_threshold(np.zeros(2), np.zeros(2), "f1")


def test_labelled_validation_needs_both_kinds_and_says_what_it_used():
    labels = np.repeat([0, 1, 0], [6, 5, 8])
    names = ("a",) * 11 + ("b",) * 8
    fitted = fit_labelled(np.arange(19.0), labels, names, "balanced_accuracy")
    assert fitted.values == {"a": 5.5}
    assert fitted.source == (
        "best balanced accuracy on labelled validation images, at least 6 normal and 5 anomalous "
        "per category; none for b: fewer than 5 normal or 5 anomalous validation images"
    )
    assert fit_labelled(np.arange(6.0), np.zeros(6), ("a",) * 6, "f1").source.startswith("none: ")


def videos(num=20, frames=3, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    origins = [Origin(str(f), f"v{v}") for v in range(num) for f in range(frames) for _ in range(2)]
    return rng.normal(size=len(origins)) + shift, origins


def test_thresholds_of_frames_and_videos_are_fitted_on_their_own_scores():
    scores, origins = videos()
    fitted = fit_level_thresholds(
        collect(scores, np.zeros(len(scores), int), origins), 0.1, MetricSettings(), ("face",)
    )
    frames = scores.reshape(20, 3, 2).max(axis=2)
    for found, own, unit in (
        (fitted, scores, "image"),
        (fitted.levels["frame"], frames.ravel(), "frame"),
        (fitted.levels["video"], frames.mean(axis=1), "video"),
    ):
        size = len(own)
        again = fit_thresholds(own, np.zeros(size, int), ("face",) * size, 0.1, unit)
        assert found.values == again.values
        assert found.source == again.source
        assert f"{size} normal validation {unit}s" in found.source


def test_without_origins_or_images_there_is_only_the_level_of_images():
    plain = fit_level_thresholds(
        collect(np.arange(30.0), np.zeros(30, int)), 0.1, MetricSettings(), ("face",)
    )
    assert plain.levels == {}
    none = fit_level_thresholds(None, 0.1, MetricSettings(), ("face",))
    assert none.source == "none: fewer than 5 normal validation images"
    assert NO_THRESHOLDS.levels == {}


def test_labelled_rule_is_used_on_every_level():
    scores, origins = videos(seed=1)
    labels = np.repeat(np.arange(20) % 2, 6)
    settings = MetricSettings(threshold_rule="balanced_accuracy", video_score="max")
    fitted = fit_level_thresholds(
        collect(scores + labels, labels, origins), 0.1, settings, ("face",)
    )
    pooled = (scores + labels).reshape(20, 6).max(axis=1)
    assert fitted.levels["video"].values["face"] == best_threshold(
        pooled, np.arange(20) % 2, "balanced_accuracy"
    )
    assert "10 normal and 10 anomalous" in fitted.levels["video"].source


def test_a_shared_threshold_holds_for_every_category():
    scores = np.arange(40.0)
    found = collect(scores, np.zeros(40, int), categories=("a",) * 20 + ("b",) * 20)
    settings = MetricSettings(shared_threshold=True)
    fitted = fit_level_thresholds(found, 0.1, settings, ("a", "b", "unseen"))
    value = fit_thresholds(scores, np.zeros(40, int), ("x",) * 40, 0.1).values["x"]
    assert fitted.values == dict.fromkeys(("a", "b", "unseen"), value)
    assert fitted.source.startswith("one for all categories: 40 normal validation images, at most")
    assert fitted.shared_with(["new"]).values == {"new": value}


def test_a_checkpoint_keeps_all_levels_and_a_shared_threshold_goes_to_other_categories():
    scores, origins = videos()
    found = collect(scores, np.zeros(len(scores), int), origins)
    for is_shared in (False, True):
        settings = MetricSettings(shared_threshold=is_shared)
        fitted = fit_level_thresholds(found, 0.1, settings, ("face",))
        stored: dict = {}
        write_entries(stored, ["face"], fitted)
        names, again = read_entries(stored, ["face"], ImageText())
        assert names == ("face",)
        assert (again.values, again.source) == (fitted.values, fitted.source)
        assert again.levels["video"].values == fitted.levels["video"].values
        names, other = read_entries(stored, ["cat"], ImageText())
        assert names == ("cat",)
        if is_shared:
            assert other.values == {"cat": fitted.values["face"]}
            assert other.levels["video"].values == {"cat": fitted.levels["video"].values["face"]}
        else:
            assert other.source == "none: not trained on cat"
    del stored["clad"]["level_thresholds"], stored["clad"]["threshold_is_shared"]
    assert read_entries(stored, ["face"], ImageText())[1].levels == {}
