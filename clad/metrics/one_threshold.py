"""Accuracy where all categories must do with one threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluation import Evaluation

ACCURACY = "image_accuracy_one_threshold"
ORACLE = f"{ACCURACY}_oracle"
_AT_THRESHOLD = "image_accuracy"


def with_one_threshold(
    evaluation: Evaluation, collected: CollectedPredictions, threshold: float | None
) -> Evaluation:
    """Accuracy of each category at one threshold for all, and at the best one on these images.

    Their means over categories are the figures meant. The second is an oracle: the labels of these
    images choose it. Nothing is added where there is one category only, and the oracle alone where
    no thresholds were fitted at all.

    Args:
        evaluation: Of the same predictions.
        collected: Predictions of N images.
        threshold: Fitted on validation images of all categories together; None where there is none.

    Source: the comparison in AnomalyGPT (Gu et al., AAAI 2024, arXiv:2308.15366), whose accuracy is
        a mean over categories, too (its code/test_mvtec.py).
    """
    names = collected.category_names
    if len(names) < 2:
        return evaluation
    rows_of = {name: collected.rows_of(name) for name in names}
    scores_of = {name: collected.scores[rows] for name, rows in rows_of.items()}
    labels_of = {name: collected.labels[rows] for name, rows in rows_of.items()}
    has_thresholds = _AT_THRESHOLD in evaluation.mean
    best = best_common_threshold(scores_of, labels_of)
    found: dict[str, dict[str, float]] = {}
    for name in names:
        scores, labels = scores_of[name], labels_of[name]
        found[name] = {ORACLE: _accuracy(scores, labels, best)}
        if has_thresholds:
            limit = math.nan if threshold is None else threshold
            found[name][ACCURACY] = _accuracy(scores, labels, limit)
    if not has_thresholds or threshold is not None:
        return evaluation.with_metrics(found)
    return evaluation.with_metrics(found, [f"{ACCURACY}: none was fitted on all categories"])


def best_common_threshold(
    scores_of: Mapping[str, NDArray[np.float64]], labels_of: Mapping[str, NDArray[np.int64]]
) -> float:
    """The one threshold with the largest mean accuracy over categories on these very images.

    Of equally good ones the largest; infinity where it is best to call nothing anomalous.

    Args:
        scores_of: Category name -> (n,) raw scores.
        labels_of: Category name -> (n,) 0 and 1.
    """
    scores = np.concatenate(list(scores_of.values()))
    # Calling an image is right (+) or wrong (-), and counts for its share of its category.
    gains = np.concatenate([(2 * labels - 1) / len(labels) for labels in labels_of.values()])
    levels, place = np.unique(scores, return_inverse=True)
    # Entry k is what is gained by calling all from levels[k] on; the last calls nothing.
    per_level = np.bincount(place, weights=gains, minlength=len(levels))
    gained = np.append(np.cumsum(per_level[::-1])[::-1], 0.0)
    best = len(gained) - 1 - int(np.argmax(np.round(gained[::-1], 12)))
    return float(np.append(levels, np.inf)[best])


def _accuracy(scores: NDArray[np.float64], labels: NDArray[np.int64], threshold: float) -> float:
    if math.isnan(threshold):
        return math.nan
    return float(((scores >= threshold) == (labels == 1)).mean())
