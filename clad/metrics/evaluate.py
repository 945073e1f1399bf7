"""Collected predictions -> every metric per category, and its mean by domain and over all."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluation import Evaluation, Reasons, Values, macro_mean
from clad.metrics.faces import FACE, LevelThresholds, evaluate_faces
from clad.metrics.families import family_means
from clad.metrics.functional.ranking import rank
from clad.metrics.functional.validate import undefined_reason
from clad.metrics.levels import ranking_values, threshold_metrics
from clad.metrics.pixel_state import PIXEL_METRICS
from clad.metrics.settings import STANDARD, MetricSettings

IMAGE_METRICS = ("image_auroc", "image_ap", "image_f1_max")
THRESHOLD_METRICS = ("image_accuracy", "image_f1", "image_recall", "image_false_alarm_rate")


def evaluate(
    collected: CollectedPredictions,
    thresholds: Mapping[str, float] | None = None,
    settings: MetricSettings = STANDARD,
    level_thresholds: LevelThresholds | None = None,
) -> Evaluation:
    """Metrics per category and their mean, over all and, where there are several, per domain.

    Pixel metrics are taken over the images whose mask is known. With ``thresholds``, an image is
    called anomalous if its score is at or above the threshold of its category, and accuracy, F1,
    recall and false alarm rate at that threshold are added. Categories of the domain ``face`` get
    what ``clad.metrics.faces`` measures, too.

    Args:
        collected: Predictions of N images.
        thresholds: Category name -> threshold on raw scores; never fitted on these images.
        settings: Choices of the recipe.
        level_thresholds: ``frame`` and ``video`` -> category name -> threshold on their scores;
            those of images are ``thresholds``.

    Raises:
        ValueError: If a category has no threshold although thresholds are given, two domains, or a
            frame or video with two labels.
    """
    domain_of = collected.domain_of()
    per_category: dict[str, Values] = {}
    reasons_of: dict[str, Reasons] = {}
    for name in collected.category_names:
        per_category[name], reasons_of[name] = _category_metrics(collected, name, thresholds)
    of_levels = None if thresholds is None else {**(level_thresholds or {}), "image": thresholds}
    face_names = [name for name in per_category if domain_of.get(name) == FACE]
    faces = evaluate_faces(collected, face_names, of_levels, settings)
    for name, extra in faces.items():
        per_category[name] |= extra.values
        reasons_of[name] |= extra.reasons
    kinds = {name: each.per_manipulation for name, each in faces.items() if each.per_manipulation}
    families, family_of = family_means(kinds, settings.training_generators)
    mean, left_out = macro_mean(per_category.values())
    per_domain = _domain_means(per_category, domain_of)
    return Evaluation(
        per_category,
        mean,
        tuple(s for name, reasons in reasons_of.items() for s in _sentences(name, reasons)),
        left_out,
        per_domain,
        domain_of if per_domain else {},
        per_manipulation=kinds,
        families=families,
        family_of=family_of,
        counts={name: each.counts for name, each in faces.items() if each.counts},
        settings=settings,
    )


def _category_metrics(
    collected: CollectedPredictions, category: str, thresholds: Mapping[str, float] | None
) -> tuple[Values, Reasons]:
    """What is measured of images of any domain."""
    rows = collected.rows_of(category)
    scores, labels = collected.scores[rows], collected.labels[rows]
    found = [_image_metrics(scores, labels), _pixel_metrics(collected, category, rows)]
    if thresholds is not None:
        if category not in thresholds:
            raise ValueError(
                f"expected a threshold for every category, got none for {category!r} "
                f"(there are {sorted(thresholds)}); fit it on validation images"
            )
        found.append(threshold_metrics("image", scores, labels, thresholds[category]))
    values = {name: value for more, _ in found for name, value in more.items()}
    return values, {name: why for _, more in found for name, why in more.items()}


def _image_metrics(scores: NDArray[np.float64], labels: NDArray) -> tuple[Values, Reasons]:
    reason = undefined_reason(labels, "image")
    ranking = rank(scores, labels)
    return ranking_values("image", ranking), dict.fromkeys(IMAGE_METRICS, reason) if reason else {}


def _pixel_metrics(
    collected: CollectedPredictions, category: str, rows: NDArray[np.int64]
) -> tuple[Values, Reasons]:
    if not collected.pixels:
        undefined = dict.fromkeys(PIXEL_METRICS, math.nan)
        return undefined, dict.fromkeys(PIXEL_METRICS, "no anomaly maps")
    is_anomalous = collected.labels[rows] == 1
    if not is_anomalous[collected.has_mask[rows]].any():
        reason = "no masks" if is_anomalous.any() else "no anomalous image"
        names = collected.pixels[category].metric_names
        return dict.fromkeys(names, math.nan), dict.fromkeys(names, reason)
    return collected.pixels[category].metrics()


def _sentences(category: str, reasons: Reasons) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for metric, reason in reasons.items():
        by_reason.setdefault(reason, []).append(metric)
    return [
        f"{', '.join(metrics)} of {category}: {reason}" for reason, metrics in by_reason.items()
    ]


def _domain_means(
    per_category: Mapping[str, Values], domain_of: Mapping[str, str]
) -> dict[str, Values]:
    """Macro mean within each domain; nothing where there is only one."""
    domains = dict.fromkeys(domain_of.values())
    if len(domains) < 2:
        return {}
    return {
        domain: macro_mean(row for n, row in per_category.items() if domain_of[n] == domain)[0]
        for domain in domains
    }
