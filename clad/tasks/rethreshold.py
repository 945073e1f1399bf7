"""Thresholds by another rule than that of the training, from what it kept; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from clad.metrics.settings import MetricSettings
from clad.tasks.calibration import NO_THRESHOLDS, Thresholds, thresholds_among

_ALL = "all categories"


def given_thresholds(
    settings: MetricSettings, class_names: Sequence[str], known: Thresholds = NO_THRESHOLDS
) -> Thresholds:
    """The thresholds that the settings give, for images, frames and videos alike.

    Args:
        settings: With the rule ``given``.
        class_names: Categories that need one.
        known: What else is known of scores.

    Raises:
        ValueError: If a category has none.
    """
    given = settings.threshold
    assert given is not None
    if isinstance(given, Mapping):
        without = [name for name in class_names if name not in given]
        if without:
            raise ValueError(
                f"expected model.metrics.threshold to name every category, got none for "
                f"{', '.join(without)} (there are {', '.join(given)}); add them, or give one number"
            )
        values = {name: float(given[name]) for name in class_names}
        one, source = None, "given per category"
    else:
        values = dict.fromkeys(class_names, float(given))
        one, source = float(given), f"given: {float(given):g} for every category"
    own = Thresholds(values, source, {}, one is not None, rule="given", one_threshold=one)
    levels = {
        level: replace(own, calibrations=known.levels.get(level, NO_THRESHOLDS).calibrations)
        for level in ("frame", "video")
    }
    return replace(
        own, levels=levels, calibrations=known.calibrations, all_normals=known.all_normals
    )


def without_validation(
    settings: MetricSettings, class_names: Sequence[str], reason: Thresholds = NO_THRESHOLDS
) -> Thresholds:
    """Thresholds where no validation image was seen: given ones, or none for that reason."""
    if settings.threshold_rule == "given":
        return given_thresholds(settings, class_names)
    return reason


def rethreshold(
    stored: Thresholds,
    settings: MetricSettings,
    false_alarm_budget: float,
    class_names: Sequence[str],
) -> Thresholds:
    """Thresholds and probabilities of a checkpoint, by the settings of this run.

    The same settings give the stored ones, bit for bit. Another false alarm budget is met on the
    stored normal scores; of more than ``NormalScores`` keeps, by the next larger one that is kept.

    Args:
        stored: Of the training.
        settings: ``threshold_rule``, ``threshold``, ``probability`` and ``prevalence``.
        false_alarm_budget: Accepted share of false alarms, in (0, 1).
        class_names: Categories that need a threshold.

    Raises:
        ValueError: If the rule needs labelled scores, which are not kept, or a category has none.
    """
    found = _with_settings(stored, settings)
    rule = settings.threshold_rule
    if rule == "given":
        return given_thresholds(settings, class_names, found)
    if found.rule == "given" and not found.calibrations:
        return Thresholds({}, "none: the earlier one was given, and no normal scores are kept")
    if found.rule is None or not found.calibrations:
        return found  # kept by an older version, or nothing to fit on: as it is, with its source
    is_same_budget = false_alarm_budget == found.false_alarm_budget
    if rule == found.rule and (is_same_budget or rule != "false_alarms"):
        return found
    if rule != "false_alarms":
        raise ValueError(
            f"expected a checkpoint whose thresholds were fitted by {rule}, got {found.rule}; the "
            "labelled scores that it takes are not kept: train again, or choose the rule "
            "false_alarms or given (model.metrics.threshold_rule)"
        )
    return refit(found, false_alarm_budget)


def refit(stored: Thresholds, false_alarm_budget: float, unit: str = "image") -> Thresholds:
    """Thresholds for another share of false alarms, on the normal scores that were kept.

    Args:
        stored: With calibrations.
        false_alarm_budget: Accepted share of false alarms, in (0, 1).
        unit: What one score stands for, for the source.

    Raises:
        ValueError: If no normal scores were kept.
    """
    expect_kept_scores(stored)
    normals = {name: each.normals for name, each in stored.calibrations.items()}
    is_shared = stored.is_shared and stored.rule != "given"
    if is_shared:
        normals = {_ALL: next(iter(normals.values()))}
    fitted = thresholds_among(normals, false_alarm_budget, unit)
    values = dict(fitted.values)
    source = f"fitted anew on the stored scores: {fitted.source}"
    if is_shared:
        values = dict.fromkeys(stored.calibrations, values[_ALL])
        source = f"one for all categories: {source.replace(' per category', '')}"
    one = None if stored.all_normals is None else stored.all_normals.threshold(false_alarm_budget)
    levels = {
        level: refit(each, false_alarm_budget, level) if each.calibrations else each
        for level, each in stored.levels.items()
    }
    return replace(
        stored,
        values=values,
        source=source,
        levels=levels,
        is_shared=is_shared,
        rule="false_alarms",
        false_alarm_budget=false_alarm_budget,
        one_threshold=one,
    )


def expect_kept_scores(stored: Thresholds) -> None:
    """Refuse thresholds that were fitted on scores which are gone.

    Raises:
        ValueError: If there are thresholds and no scores.
    """
    if stored.values and stored.rule != "given" and not stored.calibrations:
        raise ValueError(
            "expected the scores of normal validation images, which a threshold for another share "
            f"of false alarms is fitted on, got none ({stored.source}); train again with this "
            "version, or show normal images (--normal DIR)"
        )


def _with_settings(stored: Thresholds, settings: MetricSettings, unit: str = "image") -> Thresholds:
    calibrations = {
        name: each.with_settings(settings, unit) for name, each in stored.calibrations.items()
    }
    levels = {level: _with_settings(each, settings, level) for level, each in stored.levels.items()}
    return replace(stored, calibrations=calibrations, levels=levels)
