"""How far image metrics would move on another draw of as many test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.metrics.functional.ranking import Ranking, rank

BOOTSTRAP_METRICS = ("image_auroc", "image_ap")

# Resamples are drawn in blocks of about this many images, to bound memory to some 100 MB.
_BLOCK = 2_000_000

Draws = dict[str, NDArray[np.float64]]


class Interval(NamedTuple):
    """Ends of a confidence interval, as fractions."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals; what is undefined has none.

    Args:
        per_category: Category name -> metric name -> interval.
        mean: Metric name -> interval of the mean over the categories where it is defined.
        confidence: Share of draws inside, in (0, 1).
    """

    per_category: dict[str, dict[str, Interval]]
    mean: dict[str, Interval]
    confidence: float


def bootstrap_intervals(
    scores: ArrayLike,
    labels: ArrayLike,
    categories: Sequence[str],
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile bootstrap of AUROC and AP, by image, stratified by category and label.

    Each resample draws as many normal and as many anomalous images of each category as there are,
    with replacement. Says nothing of another split, seed or training run. Where every resample is
    perfect the interval is a point, which understates what few images can tell.

    Args:
        scores: (N,) float, finite; larger = more anomalous.
        labels: (N,) 0 and 1.
        categories: N names.
        num_resamples: Number of draws.
        confidence: Share of draws between the two ends, in (0, 1).
        seed: Of the draws; a category's draws do not depend on the categories after it.

    Raises:
        ValueError: If an argument lies outside its range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"expected confidence in (0, 1), got {confidence}; 0.95 is usual")
    if num_resamples < 1:
        raise ValueError(f"expected num_resamples >= 1, got {num_resamples}; 1000 is usual")
    all_scores, all_labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    names = tuple(dict.fromkeys(categories))
    of_image = np.asarray(categories)
    per_category: dict[str, Draws] = {}
    for name, child in zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True):
        rows = of_image == name
        ranking = rank(all_scores[rows], all_labels[rows])
        if ranking.is_defined:
            per_category[name] = _draws(ranking, num_resamples, np.random.default_rng(child))
    mean_draws = {
        metric: np.mean([draws[metric] for draws in per_category.values()], axis=0)
        for metric in BOOTSTRAP_METRICS
        if per_category
    }
    return Intervals(
        per_category={name: _ends(draws, confidence) for name, draws in per_category.items()},
        mean=_ends(mean_draws, confidence),
        confidence=confidence,
    )


def _draws(ranking: Ranking, num_resamples: int, rng: np.random.Generator) -> Draws:
    """(num_resamples,) values of each metric."""
    block = max(1, _BLOCK // (ranking.num_anomalous + ranking.num_normal))
    parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for start in range(0, num_resamples, block):
        count = min(block, num_resamples - start)
        anomalous_times = _times_drawn(ranking.num_anomalous, count, rng)
        normal_times = _times_drawn(ranking.num_normal, count, rng)
        parts.append(_weighted_metrics(ranking, anomalous_times, normal_times))
    auroc, precision = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {"image_auroc": auroc, "image_ap": precision}


def _times_drawn(size: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, size) how often each of ``size`` images occurs in each of ``count`` resamples."""
    drawn = rng.integers(0, size, size=(count, size))
    drawn += np.arange(count)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)


def _weighted_metrics(
    ranking: Ranking, anomalous_times: NDArray[np.int64], normal_times: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(R,) AUROC and (R,) AP of R resamples, without sorting again.

    Columns of ``anomalous_times`` follow ``ranking``, those of ``normal_times`` the normal items
    by falling score.
    """
    normals = np.pad(np.cumsum(normal_times, axis=1), ((0, 0), (1, 0)))
    above, at_or_above = normals[:, ranking.normals_above], normals[:, ranking.normals_from]
    pairs = ranking.num_anomalous * ranking.num_normal
    auroc = 1 - (anomalous_times * (above + at_or_above)).sum(axis=1) / (2 * pairs)

    last = ranking.last_of_ties()
    last_of_item = np.repeat(last, np.diff(last, prepend=-1))
    found = np.cumsum(anomalous_times, axis=1)[:, last_of_item]
    # Where nothing was drawn at or above a score its weight is zero as well.
    precision = found / np.maximum(found + at_or_above, 1)
    return auroc, (anomalous_times * precision).sum(axis=1) / ranking.num_anomalous


def _ends(draws: Draws, confidence: float) -> dict[str, Interval]:
    tail = 50 * (1 - confidence)
    return {
        metric: Interval(*(float(end) for end in np.percentile(values, (tail, 100 - tail))))
        for metric, values in draws.items()
    }
