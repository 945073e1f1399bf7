"""Verdicts of two runs at their own thresholds: who is right on images where they disagree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clad.metrics.functional.mcnemar import mcnemar_exact
from clad.reports.run_directory import PredictionTable

ALL = "all"


@dataclass(frozen=True)
class VerdictRow:
    """Right and wrong verdicts of one category, or of all.

    Args:
        name: Category, or ``all``.
        num: Number of images.
        right: How many each run is right on.
        only: How many each run alone is right on.
        p_value: McNemar's exact test; NaN where images hang together.
        p_holm: Corrected over categories.
        is_total: Whether it is of all categories.
    """

    name: str
    num: int
    right: tuple[int, int]
    only: tuple[int, int]
    p_value: float
    p_holm: float = math.nan
    is_total: bool = False


def compare_verdicts(
    first: PredictionTable, second: PredictionTable, is_grouped: bool
) -> tuple[VerdictRow, ...]:
    """A row per category in which both have thresholds, and one of all those if several.

    Args:
        first: Rows of one run.
        second: Rows of the other: the same images in the same order.
        is_grouped: Whether images hang together; McNemar's test takes them as independent.
    """
    has_both = ~(np.isnan(first.thresholds) | np.isnan(second.thresholds))
    is_right = [
        (table.scores >= table.thresholds) == (table.labels == 1) for table in (first, second)
    ]
    of_image = np.asarray(first.categories)
    rows = {name: has_both & (of_image == name) for name in first.category_names}
    rows = {name: own for name, own in rows.items() if own.any()}
    if len(rows) > 1:
        rows[ALL] = has_both
    found = []
    for place, (name, own) in enumerate(rows.items()):
        one, other = (right[own] for right in is_right)
        only = int((one & ~other).sum()), int((other & ~one).sum())
        found.append(
            VerdictRow(
                name,
                num=int(own.sum()),
                right=(int(one.sum()), int(other.sum())),
                only=only,
                p_value=math.nan if is_grouped else mcnemar_exact(*only),
                is_total=len(rows) > 1 and place == len(rows) - 1,
            )
        )
    return tuple(found)


def verdict_problem(
    first: PredictionTable, second: PredictionTable, is_grouped: bool
) -> str | None:
    """Why verdicts or their test are missing, or None if all are there."""
    missing = np.isnan(first.thresholds) | np.isnan(second.thresholds)
    names = dict.fromkeys(np.asarray(first.categories)[missing].tolist())
    if missing.all():
        return "verdicts: not compared, because a run has no thresholds"
    if names:
        return f"verdicts: {', '.join(names)} left out, where a run has no threshold"
    if is_grouped:
        return (
            "verdicts: no McNemar test, because images hang together (videos, persons) and it "
            "takes them as independent"
        )
    return None
