"""Collected predictions -> every metric per category, and its mean by domain and over all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions
from clad.metrics.functional.aupro import aupro_of, region_weights
from clad.metrics.functional.auroc import auroc_of
from clad.metrics.functional.average_precision import average_precision_of
from clad.metrics.functional.f1_max import f1_max_of
from clad.metrics.functional.ranking import Ranking, rank
from clad.metrics.functional.validate import undefined_reason

IMAGE_METRICS = ("image_auroc", "image_ap", "image_f1_max")
PIXEL_METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro")
THRESHOLD_METRICS = ("image_accuracy", "image_f1", "image_recall", "image_false_alarm_rate")

Values = dict[str, float]
Reasons = dict[str, str]


@dataclass(frozen=True)
class Evaluation:
    """Metrics as fractions in [0, 1]; NaN where undefined.

    Args:
        per_category: Category name -> metric name -> value.
        mean: Metric name -> mean over the categories where it is defined (macro mean).
        undefined: One sentence per category and reason: ``pixel_auroc of mono: no masks``.
        left_out: Metric name -> number of categories that ``mean`` leaves out.
        per_domain: Domain -> metric name -> mean over its categories; empty where all categories
            are of one domain.
        domain_of: Category name -> domain; empty where ``per_domain`` is.
    """

    per_category: dict[str, Values]
    mean: Values
    undefined: tuple[str, ...]
    left_out: dict[str, int]
    per_domain: dict[str, Values] = field(default_factory=dict)
    domain_of: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Plain values for ``json.dumps``; NaN becomes None (null)."""
        by_domain: dict[str, object] = {}
        if self.per_domain:
            rows = {name: _without_nan(row) for name, row in self.per_domain.items()}
            by_domain = {"per_domain": rows, "domain_of": self.domain_of}
        return {
            "mean": _without_nan(self.mean),
            "per_category": {name: _without_nan(row) for name, row in self.per_category.items()},
            "undefined": list(self.undefined),
            "left_out": self.left_out,
            **by_domain,
        }

    @classmethod
    def from_json(cls, stored: Mapping) -> Evaluation:
        """The evaluation that ``to_json`` wrote; None becomes NaN."""
        return cls(
            per_category={name: _with_nan(row) for name, row in stored["per_category"].items()},
            mean=_with_nan(stored["mean"]),
            undefined=tuple(stored.get("undefined", ())),
            left_out=dict(stored.get("left_out", {})),
            per_domain={n: _with_nan(row) for n, row in stored.get("per_domain", {}).items()},
            domain_of=dict(stored.get("domain_of", {})),
        )


def evaluate(
    collected: CollectedPredictions,
    thresholds: Mapping[str, float] | None = None,
) -> Evaluation:
    """Metrics per category and their mean, over all and, where there are several, per domain.

    Pixel metrics are taken over the images whose mask is known. With ``thresholds``, an image is
    called anomalous if its score is at or above the threshold of its category, and accuracy, F1,
    recall and false alarm rate at that threshold are added.

    Args:
        collected: Predictions of N images.
        thresholds: Category name -> threshold on raw scores; never fitted on these images.

    Raises:
        ValueError: If a category has no threshold although thresholds are given, or two domains.
    """
    domain_of = collected.domain_of()
    per_category: dict[str, Values] = {}
    sentences: list[str] = []
    for category in collected.category_names:
        rows = collected.rows_of(category)
        scores, labels = collected.scores[rows], collected.labels[rows]
        values, reasons = _image_metrics(scores, labels)
        pixel_values, pixel_reasons = _pixel_metrics(collected, rows)
        values |= pixel_values
        reasons |= pixel_reasons
        if thresholds is not None:
            if category not in thresholds:
                raise ValueError(
                    f"expected a threshold for every category, got none for {category!r} "
                    f"(there are {sorted(thresholds)}); fit it on validation images"
                )
            at_values, at_reasons = _threshold_metrics(scores, labels, thresholds[category])
            values |= at_values
            reasons |= at_reasons
        per_category[category] = values
        sentences += _sentences(category, reasons)
    mean, left_out = _macro_mean(per_category)
    per_domain = _domain_means(per_category, domain_of)
    return Evaluation(
        per_category,
        mean,
        tuple(sentences),
        left_out,
        per_domain,
        domain_of if per_domain else {},
    )


def _image_metrics(scores: NDArray[np.float64], labels: NDArray) -> tuple[Values, Reasons]:
    reason = undefined_reason(labels, "image")
    ranking = rank(scores, labels)
    return _ranking_values("image", ranking), dict.fromkeys(IMAGE_METRICS, reason) if reason else {}


def _pixel_metrics(
    collected: CollectedPredictions, rows: NDArray[np.int64]
) -> tuple[Values, Reasons]:
    undefined = dict.fromkeys(PIXEL_METRICS, math.nan)
    if collected.maps is None or collected.masks is None:
        return undefined, dict.fromkeys(PIXEL_METRICS, "no anomaly maps")
    known = rows[collected.has_mask[rows]]
    if not (collected.labels[known] == 1).any():
        has_defects = (collected.labels[rows] == 1).any()
        reason = "no masks" if has_defects else "no anomalous image"
        return undefined, dict.fromkeys(PIXEL_METRICS, reason)
    maps, masks = collected.maps[known], collected.masks[known]
    pixel_reason = undefined_reason(masks, "pixel")
    if pixel_reason:
        return undefined, dict.fromkeys(PIXEL_METRICS, pixel_reason)
    ranking = rank(maps, masks)
    values = _ranking_values("pixel", ranking)
    values["pixel_aupro"] = aupro_of(ranking, region_weights(masks))
    return values, {}


def _ranking_values(level: str, ranking: Ranking) -> Values:
    return {
        f"{level}_auroc": auroc_of(ranking),
        f"{level}_ap": average_precision_of(ranking),
        f"{level}_f1_max": f1_max_of(ranking),
    }


def _threshold_metrics(
    scores: NDArray[np.float64], labels: NDArray, threshold: float
) -> tuple[Values, Reasons]:
    called = scores >= threshold
    anomalous = labels == 1
    num_anomalous, num_normal = int(anomalous.sum()), int((~anomalous).sum())
    hits, alarms = int((called & anomalous).sum()), int((called & ~anomalous).sum())
    values = {"image_accuracy": float((called == anomalous).mean())}
    values["image_f1"] = 2 * hits / (hits + alarms + num_anomalous) if num_anomalous else math.nan
    values["image_recall"] = hits / num_anomalous if num_anomalous else math.nan
    values["image_false_alarm_rate"] = alarms / num_normal if num_normal else math.nan
    reasons: Reasons = {}
    if not num_anomalous:
        reasons |= dict.fromkeys(("image_f1", "image_recall"), "no anomalous image")
    if not num_normal:
        reasons["image_false_alarm_rate"] = "no normal image"
    return values, reasons


def _sentences(category: str, reasons: Reasons) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for metric, reason in reasons.items():
        by_reason.setdefault(reason, []).append(metric)
    return [
        f"{', '.join(metrics)} of {category}: {reason}" for reason, metrics in by_reason.items()
    ]


def _macro_mean(per_category: Mapping[str, Values]) -> tuple[Values, dict[str, int]]:
    mean: Values = {}
    left_out: dict[str, int] = {}
    metrics = dict.fromkeys(metric for row in per_category.values() for metric in row)
    for metric in metrics:
        column = [row[metric] for row in per_category.values()]
        defined = [value for value in column if not math.isnan(value)]
        mean[metric] = math.fsum(defined) / len(defined) if defined else math.nan
        left_out[metric] = len(column) - len(defined)
    return mean, left_out


def _domain_means(
    per_category: Mapping[str, Values], domain_of: Mapping[str, str]
) -> dict[str, Values]:
    """Macro mean within each domain; nothing where there is only one."""
    domains = dict.fromkeys(domain_of.values())
    if len(domains) < 2:
        return {}
    return {
        domain: _macro_mean({n: row for n, row in per_category.items() if domain_of[n] == domain})[
            0
        ]
        for domain in domains
    }


def _without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _with_nan(values: Mapping[str, float | None]) -> Values:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}
