"""Thresholds on scores, fitted on normal validation images, and what else those say of a score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range
from clad.metrics.normal_scores import FEWEST_NORMALS, NormalScores
from clad.metrics.score_calibration import NO_STANDING, Calibration, Standing, describe_calibrations
from clad.metrics.settings import ThresholdRule

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
        calibrations: Category name -> what validation says about its scores.
        rule: How they were fitted; None in checkpoints of versions that did not keep it.
        false_alarm_budget: What they were fitted to by the rule ``false_alarms``.
        one_threshold: Fitted by the same rule on the images of all categories together; None where
            there is one category only, or no images.
        all_normals: Normal scores of all categories together; None where there is one category.
    """

    values: Mapping[str, float]
    source: str
    levels: Mapping[str, Thresholds] = field(default_factory=dict)
    is_shared: bool = False
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    rule: ThresholdRule | None = None
    false_alarm_budget: float | None = None
    one_threshold: float | None = None
    all_normals: NormalScores | None = None

    def of(self, category: str) -> float | None:
        """The threshold of a category; of any, where one is for all."""
        if category not in self.values and self.is_shared:
            return next(iter(self.values.values()), None)
        return self.values.get(category)

    def standing(self, category: str, score: float) -> Standing:
        """Where a raw score stands among those of validation."""
        found = self.calibrations.get(category)
        if found is None and self._shares_calibrations:
            found = next(iter(self.calibrations.values()), None)
        return NO_STANDING if found is None else found.standing(score)

    @property
    def _shares_calibrations(self) -> bool:
        """Whether they are of all categories together, as a given threshold does not say."""
        return self.is_shared and self.rule != "given"

    @property
    def calibration_source(self) -> str:
        """On what percentiles and probabilities rest, in words; why there are none."""
        return describe_calibrations(self.calibrations)

    def shared_with(self, categories: Sequence[str]) -> Thresholds:
        """The one threshold as that of other categories."""
        value = next(iter(self.values.values()), None)
        levels = {name: each.shared_with(categories) for name, each in self.levels.items()}
        values = {} if value is None else dict.fromkeys(categories, value)
        known = next(iter(self.calibrations.values()), None) if self._shares_calibrations else None
        calibrations = {} if known is None else dict.fromkeys(categories, known)
        return replace(self, values=values, levels=levels, calibrations=calibrations)


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
    of_item = np.asarray(categories)
    normals: dict[str, NormalScores | None] = {}
    for category in dict.fromkeys(categories):
        own = scores[(of_item == category) & (labels == 0)]
        enough = len(own) >= FEWEST_NORMALS
        normals[category] = NormalScores.of(own, most=None) if enough else None
    return thresholds_among(normals, false_alarm_budget, unit)


def thresholds_among(
    normals: Mapping[str, NormalScores | None], false_alarm_budget: float, unit: str = "image"
) -> Thresholds:
    """``fit_thresholds`` on normal scores that were sorted out before.

    Args:
        normals: Category name -> its normal scores; None where there are fewer than
            ``FEWEST_NORMALS``.
        false_alarm_budget: Accepted share of false alarms, in (0, 1).
        unit: What one score stands for, for the source.
    """
    expect_range("false_alarm_budget", false_alarm_budget, 1e-6, 1 - 1e-6)
    known = {name: each for name, each in normals.items() if each is not None}
    values = {name: each.threshold(false_alarm_budget) for name, each in known.items()}
    sizes = [each.count for each in known.values()]
    without = [name for name, each in normals.items() if each is None]
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
