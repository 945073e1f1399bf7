"""Average precision: the step-wise area under the precision-recall curve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from clad.metrics.functional.ranking import Ranking, rank


def average_precision_of(ranking: Ranking) -> float:
    """AP of items already ranked; see ``average_precision``."""
    if not ranking.is_defined:
        return math.nan
    last = ranking.last_of_ties()
    found = last + 1
    precision = found / (found + ranking.normals_from[last])
    steps = np.diff(found, prepend=0)
    return min(1.0, float(precision @ steps) / ranking.num_anomalous)


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """AP in [0, 1]: sum over thresholds of precision times the recall gained there.

    No interpolation between thresholds; items of equal score enter together.

    Args:
        scores: Any shape, float, finite; larger = more anomalous.
        labels: Same shape, bool or 0 and 1; 1 = anomalous.

    Returns:
        A fraction; NaN if one kind of item is missing (``undefined_reason`` says which).

    Raises:
        ValueError: If shapes differ, a score is not finite, or a label is neither 0 nor 1.

    Source: the definition that scikit-learn documents for ``average_precision_score``; why the
    curve must not be interpolated linearly: Davis and Goadrich, ICML 2006.
    """
    return average_precision_of(rank(scores, labels))
