"""Thresholds on scores, fitted on normal validation images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range

_FEWEST_NORMALS = 5
"""Below this many normal images, a quantile says next to nothing."""


@dataclass(frozen=True)
class Thresholds:
    """Scores at or above which an image is called anomalous.

    Args:
        values: Category name -> threshold on raw scores; categories without one are missing.
        source: What they were fitted on, in words; why there are none, if there are none.
    """

    values: Mapping[str, float]
    source: str


NO_THRESHOLDS = Thresholds({}, "none: not fitted yet; train with validation images")


def fit_thresholds(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    categories: tuple[str, ...],
    false_alarm_budget: float,
) -> Thresholds:
    """Per category, the score that the stated share of normal validation images reaches.

    The quantile is the conformal one: with n normal images it is the score of rank
    ``ceil((n + 1)(1 - budget))`` counted from below, or one step above the largest score where the
    budget asks for more images than there are, so that the chance of a false alarm on a new normal
    image is at most the budget if it is drawn as the validation images were.

    Args:
        scores: (N,) raw scores of validation images.
        labels: (N,) 1 anomalous; those are ignored.
        categories: N names.
        false_alarm_budget: Accepted share of false alarms, in (0, 1).

    Source: Vovk et al., Algorithmic learning in a random world (2005); split conformal prediction.
    """
    expect_range("false_alarm_budget", false_alarm_budget, 1e-6, 1 - 1e-6)
    values, sizes = {}, []
    for category in dict.fromkeys(categories):
        normal = np.sort(scores[(np.asarray(categories) == category) & (labels == 0)])
        if len(normal) < _FEWEST_NORMALS:
            continue
        rank = int(np.ceil((len(normal) + 1) * (1 - false_alarm_budget)))
        values[category] = float(normal[min(rank, len(normal)) - 1])
        if rank >= len(normal):
            values[category] = float(np.nextafter(normal[-1], np.inf))
        sizes.append(len(normal))
    if not values:
        return Thresholds({}, f"none: fewer than {_FEWEST_NORMALS} normal validation images")
    counts = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return Thresholds(
        values,
        f"{counts} normal validation images per category, at most {false_alarm_budget:.0%} false "
        "alarms",
    )
