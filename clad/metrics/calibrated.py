"""Probabilities of test images, and how good they are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluation import Evaluation, Values
from clad.metrics.functional.brier import brier_score, expected_calibration_error
from clad.metrics.score_calibration import Calibration

BRIER, ECE = "image_brier", "image_ece"
STANDINGS = ("percentile", "false_alarms_per_1000", "probability")
"""Columns of ``standing_columns``."""


def with_probabilities(
    evaluation: Evaluation,
    collected: CollectedPredictions,
    calibrations: Mapping[str, Calibration],
) -> Evaluation:
    """Brier score and expected calibration error of each category that has probabilities.

    Nothing is added where none has.

    Args:
        evaluation: Of the same predictions.
        collected: Predictions of N images.
        calibrations: Category name -> what validation says about its scores.
    """
    found: dict[str, Values] = {}
    without: list[str] = []
    for name in collected.category_names:
        known = calibrations.get(name)
        if known is None or known.probability is None:
            found[name] = {BRIER: math.nan, ECE: math.nan}
            reason = "no normal scores" if known is None else known.probability_source
            without.append(f"{BRIER}, {ECE} of {name}: no probability, {reason}")
            continue
        rows = collected.rows_of(name)
        values, labels = known.probability(collected.scores[rows]), collected.labels[rows]
        found[name] = {
            BRIER: brier_score(values, labels),
            ECE: expected_calibration_error(values, labels),
        }
    if len(without) == len(found):
        return evaluation
    return evaluation.with_metrics(found, without)


def standing_columns(
    scores: NDArray[np.float64],
    categories: tuple[str, ...],
    calibrations: Mapping[str, Calibration],
) -> dict[str, NDArray[np.float64]]:
    """Percentile, expected false alarms and probability of images; NaN where there is none.

    Args:
        scores: (N,) raw.
        categories: N names.
        calibrations: Category name -> what validation says about its scores.

    Returns:
        Name (``STANDINGS``) -> (N,) float64; columns that are NaN throughout are left out.
    """
    columns = {name: np.full(len(scores), math.nan) for name in STANDINGS}
    of_item = np.asarray(categories)
    for name, known in calibrations.items():
        rows = of_item == name
        own = scores[rows]
        columns["percentile"][rows] = known.normals.percentile(own)
        columns["false_alarms_per_1000"][rows] = known.normals.false_alarms_per_1000(own)
        if known.probability is not None:
            columns["probability"][rows] = known.probability(own)
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}
