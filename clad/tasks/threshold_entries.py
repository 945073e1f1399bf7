"""Thresholds and what validation says about scores -> plain values of a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clad.metrics.normal_scores import NormalScores
from clad.metrics.score_calibration import Calibration
from clad.tasks.calibration import Thresholds


def thresholds_to_plain(thresholds: Thresholds) -> dict[str, Any]:
    """Numbers, strings, lists and dictionaries; every bit is kept."""
    return {
        "thresholds": dict(thresholds.values),
        "threshold_source": thresholds.source,
        "threshold_is_shared": thresholds.is_shared,
        "level_thresholds": {
            level: {"values": dict(each.values), "source": each.source, **_to_plain(each)}
            for level, each in thresholds.levels.items()
        },
        **_to_plain(thresholds),
    }


def thresholds_from_plain(own: Mapping[str, Any]) -> Thresholds:
    """What ``thresholds_to_plain`` wrote, in this or an earlier version."""
    is_shared = own.get("threshold_is_shared", False)
    levels = {
        level: _from_plain(each["values"], each["source"], {}, is_shared, each)
        for level, each in own.get("level_thresholds", {}).items()
    }
    return _from_plain(own["thresholds"], own["threshold_source"], levels, is_shared, own)


def _to_plain(thresholds: Thresholds) -> dict[str, Any]:
    pooled = thresholds.all_normals
    return {
        "threshold_rule": thresholds.rule,
        "false_alarm_budget": thresholds.false_alarm_budget,
        "one_threshold": thresholds.one_threshold,
        "all_normals": None if pooled is None else [list(pooled.values), pooled.count],
        "calibrations": {name: each.to_plain() for name, each in thresholds.calibrations.items()},
    }


def _from_plain(
    values: Mapping[str, float],
    source: str,
    levels: Mapping[str, Thresholds],
    is_shared: bool,
    plain: Mapping[str, Any],
) -> Thresholds:
    pooled = plain.get("all_normals")
    stored = plain.get("calibrations", {})
    return Thresholds(
        values,
        source,
        levels,
        is_shared,
        calibrations={name: Calibration.from_plain(each) for name, each in stored.items()},
        rule=plain.get("threshold_rule"),
        false_alarm_budget=plain.get("false_alarm_budget"),
        one_threshold=plain.get("one_threshold"),
        all_normals=None if pooled is None else NormalScores(tuple(pooled[0]), pooled[1]),
    )
