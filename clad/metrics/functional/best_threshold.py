"""The threshold with the best value on labelled items: to be fitted on validation, used on test."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Goal = Literal["balanced_accuracy", "f1"]


def best_threshold(scores: NDArray, labels: NDArray, goal: Goal) -> float:
    """Threshold at or above which an item is to be called anomalous.

    It lies in the middle between the two scores that it divides, and beyond the outermost where
    everything or nothing is called. Of equally good ones the largest is taken: the one with the
    fewest false alarms.

    Args:
        scores: (N,) float, finite; larger = more anomalous.
        labels: (N,) 0 and 1, at least one of each.
        goal: ``balanced_accuracy``, the mean of recall and specificity, does not change with the
            share of anomalous items; ``f1`` does.

    Returns:
        A number that float32 holds, so that a rounded copy of it divides the same scores.

    Raises:
        ValueError: If a kind of item is missing.
    """
    num_anomalous = int((labels == 1).sum())
    num_normal = len(labels) - num_anomalous
    if not num_anomalous or not num_normal:
        raise ValueError(
            f"expected normal and anomalous items, got {num_normal} and {num_anomalous}; a "
            "threshold takes both"
        )
    levels, place = np.unique(np.asarray(scores, dtype=np.float32), return_inverse=True)
    # Entry k is what the threshold below levels[k] calls; the last calls nothing.
    found = _from_above(np.bincount(place[labels == 1], minlength=len(levels)))
    alarms = _from_above(np.bincount(place[labels == 0], minlength=len(levels)))
    if goal == "f1":
        value = 2 * found / (found + alarms + num_anomalous)
    else:
        value = (found / num_anomalous + 1 - alarms / num_normal) / 2
    best = len(value) - 1 - int(np.argmax(value[::-1]))
    if best == 0:
        return float(levels[0])
    below = levels[best - 1]
    above = levels[best] if best < len(levels) else np.float32(np.inf)
    middle = np.float32((float(below) + float(above)) / 2) if np.isfinite(above) else below
    return float(middle if middle > below else np.nextafter(below, np.float32(np.inf)))


def _from_above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(np.cumsum(counts[::-1])[::-1], 0)
