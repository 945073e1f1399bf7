"""The largest F1 over all thresholds: a figure of merit, never an operating point."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from clad.metrics.functional.ranking import Ranking, rank


def f1_max_of(ranking: Ranking) -> float:
    """F1-max of items already ranked; see ``f1_max``."""
    if not ranking.is_defined:
        return math.nan
    last = ranking.last_of_ties()
    found = last + 1
    # 2 TP / (2 TP + FP + FN), and TP + FN is the number of anomalous items.
    f1 = 2 * found / (found + ranking.normals_from[last] + ranking.num_anomalous)
    return float(f1.max())


def f1_max(scores: ArrayLike, labels: ArrayLike) -> float:
    """Largest F1 in [0, 1] that any threshold on these very items reaches.

    The threshold is chosen with the labels in hand, so this says how well the scores separate, not
    how well a deployed detector would do; see ``clad.metrics.evaluate`` for fixed thresholds.

    Args:
        scores: Any shape, float, finite; larger = more anomalous.
        labels: Same shape, bool or 0 and 1; 1 = anomalous.

    Returns:
        A fraction; NaN if one kind of item is missing (``undefined_reason`` says which).

    Raises:
        ValueError: If shapes differ, a score is not finite, or a label is neither 0 nor 1.

    Source: F-measure, van Rijsbergen, Information Retrieval, 1979; its maximum over thresholds as
    reported since PatchCore-era work, e.g. WinCLIP (arXiv:2303.14814), section 5.
    """
    return f1_max_of(rank(scores, labels))
