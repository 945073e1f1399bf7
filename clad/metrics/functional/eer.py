"""Equal error rate, and the rates at fixed points of the ROC curve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.checks import expect_range
from clad.metrics.functional.ranking import Ranking, rank

Floats = NDArray[np.float64]


def equal_error_rate_of(ranking: Ranking) -> float:
    """EER of items already ranked; see ``equal_error_rate``."""
    if not ranking.is_defined:
        return math.nan
    last = ranking.last_of_ties()
    recall = (last + 1) / ranking.num_anomalous
    alarms_above = ranking.normals_above[last] / ranking.num_normal
    alarms = ranking.normals_from[last] / ranking.num_normal
    before = np.append(0.0, recall[:-1])
    place = int(np.argmax(recall + alarms >= 1))
    ends = (alarms_above, before, alarms, recall)
    return float(rate_on_segment(*(end[place : place + 1] for end in ends))[0])


def rate_on_segment(
    alarms_above: Floats, recall_above: Floats, alarms: Floats, recall: Floats
) -> Floats:
    """Where the misses equal the false alarms, on the last stretch of the ROC curve before that.

    The stretch is level up to (``alarms_above``, ``recall_above``), then straight to (``alarms``,
    ``recall``), the first corner with misses no more than false alarms; all arguments are of one
    shape. Ties of anomalous with normal scores make the straight part slanted.
    """
    excess_above = 1 - recall_above - alarms_above
    excess = 1 - recall - alarms
    fall = np.where(excess_above > excess, excess_above - excess, 1.0)
    slanted = alarms_above + excess_above / fall * (alarms - alarms_above)
    return np.where(excess_above <= 0, 1 - recall_above, slanted)


def equal_error_rate(scores: ArrayLike, labels: ArrayLike) -> float:
    """The rate in [0, 1] at which the share of misses equals the share of false alarms.

    The corners of the ROC curve are joined by straight lines, so the two rates meet exactly. Code
    that takes the corner where they differ least (as DeepfakeBench does) gets another number: up
    to half a step of the curve away, which matters with few items.

    Args:
        scores: Any shape, float, finite; larger = more anomalous.
        labels: Same shape, bool or 0 and 1; 1 = anomalous.

    Returns:
        A fraction, smaller is better; NaN if one kind of item is missing.

    Raises:
        ValueError: If shapes differ, a score is not finite, or a label is neither 0 nor 1.

    Source: Martin et al., The DET curve in assessment of detection task performance, Eurospeech
    1997; linear between corners as Fawcett, Pattern Recognition Letters 27 (2006), section 5.
    """
    return equal_error_rate_of(rank(scores, labels))


def false_alarms_at_recall_of(ranking: Ranking, recall: float = 0.95) -> float:
    """The least share of false alarms of a threshold that finds at least ``recall``.

    Args:
        ranking: Of the items.
        recall: Share of anomalous items to find, in (0, 1].

    Returns:
        A fraction that a threshold on these items reaches (nothing is interpolated); NaN if one
        kind of item is missing.

    Raises:
        ValueError: If ``recall`` is out of range.
    """
    expect_range("recall", recall, 1e-9, 1)
    if not ranking.is_defined:
        return math.nan
    needed = math.ceil(recall * ranking.num_anomalous - 1e-9)
    return float(ranking.normals_from[needed - 1]) / ranking.num_normal


def recall_at_false_alarms_of(ranking: Ranking, false_alarms: float = 0.01) -> float:
    """The largest share found by a threshold that calls at most ``false_alarms`` of the normal.

    Args:
        ranking: Of the items.
        false_alarms: Accepted share of normal items, in [0, 1].

    Returns:
        A fraction that a threshold on these items reaches; NaN if one kind of item is missing.

    Raises:
        ValueError: If ``false_alarms`` is out of range.
    """
    expect_range("false_alarms", false_alarms, 0, 1)
    if not ranking.is_defined:
        return math.nan
    accepted = math.floor(false_alarms * ranking.num_normal + 1e-9)
    # normals_from never falls along the ranking, and is equal within ties.
    found = int(np.searchsorted(ranking.normals_from, accepted, side="right"))
    return found / ranking.num_anomalous
