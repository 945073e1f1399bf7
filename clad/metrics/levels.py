"""Metrics of one list of scores, named by its level: image, frame, video or pixel."""

from __future__ import annotations

import math

from numpy.typing import NDArray

from clad.metrics.evaluation import Reasons, Values
from clad.metrics.functional.auroc import auroc_of
from clad.metrics.functional.average_precision import average_precision_of
from clad.metrics.functional.eer import (
    equal_error_rate_of,
    false_alarms_at_recall_of,
    recall_at_false_alarms_of,
)
from clad.metrics.functional.f1_max import f1_max_of
from clad.metrics.functional.oracle_accuracy import oracle_accuracy_of
from clad.metrics.functional.ranking import Ranking, rank
from clad.metrics.functional.validate import undefined_reason

_AT_THRESHOLD = ("accuracy", "f1", "recall", "false_alarm_rate")


def ranking_values(level: str, ranking: Ranking) -> Values:
    """AUROC, AP and F1-max."""
    return {
        f"{level}_auroc": auroc_of(ranking),
        f"{level}_ap": average_precision_of(ranking),
        f"{level}_f1_max": f1_max_of(ranking),
    }


def detection_values(level: str, ranking: Ranking) -> Values:
    """What the literature on forged faces reports besides."""
    return {
        f"{level}_eer": equal_error_rate_of(ranking),
        f"{level}_false_alarms_at_95_recall": false_alarms_at_recall_of(ranking, 0.95),
        f"{level}_recall_at_1_false_alarms": recall_at_false_alarms_of(ranking, 0.01),
        f"{level}_oracle_accuracy": oracle_accuracy_of(ranking),
    }


def level_metrics(level: str, scores: NDArray, labels: NDArray) -> tuple[Values, Reasons]:
    """All of the above, with the reason of those that are undefined."""
    ranking = rank(scores, labels)
    values = {**ranking_values(level, ranking), **detection_values(level, ranking)}
    reason = undefined_reason(labels, level)
    return values, dict.fromkeys(values, reason) if reason else {}


def threshold_metrics(
    level: str, scores: NDArray, labels: NDArray, threshold: float | None
) -> tuple[Values, Reasons]:
    """Accuracy, F1, recall and false alarm rate where scores at or above the threshold count.

    Args:
        level: Names the metrics.
        scores: (N,) float.
        labels: (N,) 0 and 1.
        threshold: None where there is none; nothing is defined then.
    """
    names = [f"{level}_{name}" for name in _AT_THRESHOLD]
    if threshold is None:
        reason = f"no threshold was fitted on validation {level}s"
        return dict.fromkeys(names, math.nan), dict.fromkeys(names, reason)
    called = scores >= threshold
    anomalous = labels == 1
    num_anomalous, num_normal = int(anomalous.sum()), int((~anomalous).sum())
    hits, alarms = int((called & anomalous).sum()), int((called & ~anomalous).sum())
    found = (
        float((called == anomalous).mean()) if len(labels) else math.nan,
        2 * hits / (hits + alarms + num_anomalous) if num_anomalous else math.nan,
        hits / num_anomalous if num_anomalous else math.nan,
        alarms / num_normal if num_normal else math.nan,
    )
    reasons: Reasons = {}
    if not num_anomalous:
        reasons |= dict.fromkeys(names[1:3], f"no anomalous {level}")
    if not num_normal:
        reasons[names[3]] = f"no normal {level}"
    return dict(zip(names, found, strict=True)), reasons
