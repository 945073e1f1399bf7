"""Thresholds of images, frames and videos, by the rule that a recipe chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions
from clad.metrics.faces import LEVELS, pool_levels
from clad.metrics.functional.best_threshold import Goal, best_threshold
from clad.metrics.normal_scores import FEWEST_NORMALS, NormalScores
from clad.metrics.score_calibration import fit_calibrations
from clad.metrics.settings import MetricSettings
from clad.tasks.calibration import Thresholds, fit_thresholds
from clad.tasks.rethreshold import given_thresholds

_FEWEST_FAKES = FEWEST_NORMALS
_ALL = "all categories"


def fit_level_thresholds(
    found: CollectedPredictions | None,
    false_alarm_budget: float,
    settings: MetricSettings,
    class_names: Sequence[str],
) -> Thresholds:
    """Thresholds on image scores, and on those of frames and videos where origins are known.

    With them comes what validation says about scores, and, of several categories, the threshold
    that the same rule finds for all of them together.

    Args:
        found: Predictions of validation images; None if there are none.
        false_alarm_budget: Accepted share of false alarms, in (0, 1).
        settings: ``threshold_rule``, ``shared_threshold``, how scores become probabilities, and
            how frames become videos.
        class_names: Categories that a shared threshold is for.
    """
    if found is None:
        return fit_thresholds(np.empty(0), np.empty(0, np.int64), (), false_alarm_budget)
    of_level: dict[str, Thresholds] = {}
    known = any(origin is not None for origin in found.origins)
    pooled = {
        name: pool_levels(found, found.rows_of(name), settings) for name in found.category_names
    }
    for level in LEVELS if known else LEVELS[:1]:
        rows = {name: levels.get(level, levels["image"]) for name, levels in pooled.items()}
        scores = np.concatenate([each.scores for each in rows.values()])
        labels = np.concatenate([each.labels for each in rows.values()])
        names = tuple(name for name, each in rows.items() for _ in range(len(each)))
        if settings.shared_threshold:
            names = (_ALL,) * len(names)
        fitted = _fit(scores, labels, names, false_alarm_budget, settings, level)
        of_level[level] = _shared(fitted, class_names) if settings.shared_threshold else fitted
    found_all = replace(of_level.pop("image"), levels=of_level)
    if settings.threshold_rule == "given":
        return given_thresholds(settings, class_names, found_all)
    return found_all


def _fit(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    names: tuple[str, ...],
    false_alarm_budget: float,
    settings: MetricSettings,
    level: str,
) -> Thresholds:
    """By the rule of the settings, on one level; by false alarms where thresholds are given."""
    rule = settings.threshold_rule

    def by_rule(categories: tuple[str, ...]) -> Thresholds:
        if rule == "false_alarms" or rule == "given":
            return fit_thresholds(scores, labels, categories, false_alarm_budget, level)
        return fit_labelled(scores, labels, categories, rule, level)

    fitted = replace(
        by_rule(names),
        calibrations=fit_calibrations(scores, labels, names, settings, level),
        rule="false_alarms" if rule == "given" else rule,
        false_alarm_budget=false_alarm_budget,
    )
    normal = scores[labels == 0]
    if len(set(names)) < 2 or len(normal) < FEWEST_NORMALS:
        return fitted
    one = by_rule((_ALL,) * len(names)).of(_ALL)
    return replace(fitted, one_threshold=one, all_normals=NormalScores.of(normal))


def fit_labelled(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    categories: tuple[str, ...],
    rule: Goal,
    unit: str = "image",
) -> Thresholds:
    """Per category, the threshold with the best value on labelled validation images.

    Args:
        scores: (N,) raw scores of validation images.
        labels: (N,) 1 anomalous.
        categories: N names.
        rule: ``balanced_accuracy`` or ``f1``.
        unit: What one score stands for, for the source.
    """
    values: dict[str, float] = {}
    counts: list[tuple[int, int]] = []
    without: list[str] = []
    of_item = np.asarray(categories)
    for category in dict.fromkeys(categories):
        own, truth = scores[of_item == category], labels[of_item == category]
        num_fake, num_real = int((truth == 1).sum()), int((truth == 0).sum())
        if num_fake < _FEWEST_FAKES or num_real < FEWEST_NORMALS:
            without.append(category)
            continue
        values[category] = best_threshold(own, truth, rule)
        counts.append((num_real, num_fake))
    few = f"fewer than {FEWEST_NORMALS} normal or {_FEWEST_FAKES} anomalous validation {unit}s"
    if not values:
        return Thresholds({}, f"none: {few}")
    fewest = min(counts)
    source = (
        f"best {rule.replace('_', ' ')} on labelled validation {unit}s, at least {fewest[0]} "
        f"normal and {min(fake for _, fake in counts)} anomalous per category"
    )
    return Thresholds(values, source + (f"; none for {', '.join(without)}: {few}" * bool(without)))


def _shared(fitted: Thresholds, class_names: Sequence[str]) -> Thresholds:
    source = fitted.source.replace(" per category", "")
    if fitted.values:
        source = f"one for all categories: {source}"
    return replace(fitted, source=source, is_shared=True).shared_with(class_names)
