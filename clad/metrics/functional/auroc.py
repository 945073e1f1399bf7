"""Area under the receiver operating characteristic."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from clad.metrics.functional.ranking import Ranking, rank


def auroc_of(ranking: Ranking) -> float:
    """AUROC of items already ranked; see ``auroc``."""
    if not ranking.is_defined:
        return math.nan
    # Halves of ties stay integers until the one division: exact up to 2**62 pairs.
    lost = int(ranking.normals_above.sum()) + int(ranking.normals_from.sum())
    return 1.0 - lost / (2 * ranking.num_anomalous * ranking.num_normal)


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Probability in [0, 1] that an anomalous item scores above a normal one, ties counting half.

    Args:
        scores: Any shape, float, finite; larger = more anomalous.
        labels: Same shape, bool or 0 and 1; 1 = anomalous.

    Returns:
        A fraction; NaN if one kind of item is missing (``undefined_reason`` says which).

    Raises:
        ValueError: If shapes differ, a score is not finite, or a label is neither 0 nor 1.

    Source: Hanley and McNeil, Radiology 143 (1982), 29-36 (equals the Mann-Whitney statistic).
    """
    return auroc_of(rank(scores, labels))
