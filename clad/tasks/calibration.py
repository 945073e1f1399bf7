"""Thresholds on scores, fitted on normal validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range

FEWEST_NORMALS = 5
"""Below this many normal images, a quantile says next to nothing."""
_ROUNDING = 1e-9
"""Keeps a product such as 10 x 0.3 from falling short of the integer it is."""


@dataclass(frozen=True)
class Thresholds:
    """Scores at or above which an image is called anomalous.

    Args:
        values: Category name -> threshold on raw scores; categories without one are missing.
        source: What they were fitted on, in words; why there are none, if there are none.
        levels: ``frame`` and ``video`` -> thresholds on their scores, where origins are known.
        is_shared: Whether it is one threshold for all categories, known or not.
    """

    values: Mapping[str, float]
    source: str
    levels: Mapping[str, Thresholds] = field(default_factory=dict)
    is_shared: bool = False

    def shared_with(self, categories: Sequence[str]) -> Thresholds:
        """The one threshold as that of other categories."""
        value = next(iter(self.values.values()), None)
        levels = {name: each.shared_with(categories) for name, each in self.levels.items()}
        values = {} if value is None else dict.fromkeys(categories, value)
        return Thresholds(values, self.source, levels, self.is_shared)


NO_THRESHOLDS = Thresholds({}, "none: not fitted yet; train with validation images")


def fit_thresholds(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    categories: tuple[str, ...],
    false_alarm_budget: float,
    unit: str = "image",
) -> Thresholds:
    """Per category, the lowest threshold that keeps the promised share of false alarms.

    With n normal images of a category and the budget b, the threshold lies one step above the score
    of rank ``ceil((n + 1)(1 - b))`` counted from below. A new normal image, drawn as they were, is
    then called anomalous with a chance of at most b: the conformal quantile, exact also for tied
    scores. Fewer than 1/b - 1 images cannot promise that; the threshold is then one step above the
    largest score, the chance at most 1 / (n + 1), and ``source`` says so.

    Args:
        scores: (N,) raw scores of validation images.
        labels: (N,) 1 anomalous; those are ignored.
        categories: N names.
        false_alarm_budget: Accepted share of false alarms, in (0, 1).
        unit: What one score stands for, for the source.

    Source: Vovk et al., Algorithmic learning in a random world (2005); split conformal prediction.
    """
    expect_range("false_alarm_budget", false_alarm_budget, 1e-6, 1 - 1e-6)
    values: dict[str, float] = {}
    sizes: list[int] = []
    without: list[str] = []
    for category in dict.fromkeys(categories):
        normal = np.sort(scores[(np.asarray(categories) == category) & (labels == 0)])
        if len(normal) < FEWEST_NORMALS:
            without.append(category)
            continue
        above = math.floor((len(normal) + 1) * false_alarm_budget + _ROUNDING)
        values[category] = _step_above(normal[-max(above, 1)])
        sizes.append(len(normal))
    if not values:
        return Thresholds({}, f"none: fewer than {FEWEST_NORMALS} normal validation {unit}s")
    counts = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    promised = max(false_alarm_budget, 1 / (min(sizes) + 1))
    source = f"{counts} normal validation {unit}s per category, at most {promised:.1%} false alarms"
    if promised > false_alarm_budget:
        source += f" (too few {unit}s to promise {false_alarm_budget:.1%})"
    if without:
        source += f"; none for {', '.join(without)}: fewer than {FEWEST_NORMALS}"
    return Thresholds(values, source)


def num_held_out(num_images: int, false_alarm_budget: float) -> int:
    """How many of a few normal images to keep from the head, so that a threshold can be fitted.

    Promising a budget b takes ``1/b - 1`` images (see ``fit_thresholds``), 19 for 5 %. Up to that
    many, none is held out: all are for the head. From one more on, up to half of them are; from
    twice as many on the promise is kept. Of very many a quarter is held out, because the share of
    false alarms that a threshold really has scatters less, the more images it was fitted on.

    Args:
        num_images: All there are.
        false_alarm_budget: Accepted share of false alarms, in (0, 1).
    """
    if num_images < fewest_for_threshold(false_alarm_budget):
        return 0
    enough = _enough(false_alarm_budget)
    return max(min(enough, num_images // 2), num_images // 4, FEWEST_NORMALS)


def fewest_for_threshold(false_alarm_budget: float) -> int:
    """From how many normal images on ``num_held_out`` holds some out."""
    return max(_enough(false_alarm_budget) + 1, 2 * FEWEST_NORMALS)


def too_few_for_threshold(num_images: int, false_alarm_budget: float) -> Thresholds:
    """No thresholds, because all images are for the head."""
    images = "image gives" if num_images == 1 else "images give"
    return Thresholds(
        {},
        f"none: {num_images} normal {images} a ranking and no verdict; a threshold takes at least "
        f"{fewest_for_threshold(false_alarm_budget)}",
    )


def _enough(false_alarm_budget: float) -> int:
    """Normal images that a threshold takes to promise the budget."""
    return math.ceil(1 / false_alarm_budget - 1 - _ROUNDING)


def _step_above(score: float) -> float:
    """The next float32: scores are float32, and some readers compare in that precision."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))
