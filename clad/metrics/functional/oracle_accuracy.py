"""The best accuracy over all thresholds: what only an oracle that knows the labels reaches."""

from __future__ import annotations

import math

from clad.metrics.functional.ranking import Ranking


def oracle_accuracy_of(ranking: Ranking) -> float:
    """Largest share of items that any one threshold on these very items judges rightly.

    A figure of merit, never an operating point, and never to be called accuracy: a threshold must
    be fixed elsewhere.

    Args:
        ranking: Of the items.

    Returns:
        A fraction; NaN if one kind of item is missing.
    """
    if not ranking.is_defined:
        return math.nan
    last = ranking.last_of_ties()
    right = last + 1 + ranking.num_normal - ranking.normals_from[last]
    best = max(int(right.max()), ranking.num_normal)  # the latter: nothing is called anomalous
    return best / (ranking.num_normal + ranking.num_anomalous)
