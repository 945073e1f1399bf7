"""How far metrics would move on another draw of as many test images, videos or persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.metrics.functional.eer import rate_on_segment
from clad.metrics.functional.ranking import Ranking, rank

METRICS = ("auroc", "ap", "eer")
IMAGES, GROUPS = "test images", "groups of test images (videos or persons)"

# Resamples are drawn in blocks of about this many images, to bound memory to some 100 MB.
BLOCK = 2_000_000

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
        unit: What was drawn, in words.
    """

    per_category: dict[str, dict[str, Interval]]
    mean: dict[str, Interval]
    confidence: float
    unit: str = IMAGES


def bootstrap_intervals(
    scores: ArrayLike,
    labels: ArrayLike,
    categories: Sequence[str],
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
    level: str = "image",
) -> Intervals:
    """Percentile bootstrap of AUROC, AP and EER, stratified by category and label.

    Each resample draws as many normal and as many anomalous images of each category as there are,
    with replacement. With ``groups`` it draws whole groups: images of one video or person are
    alike, and drawing them one by one would promise too narrow an interval. Says nothing of another
    split, seed or training run. Where every resample is perfect the interval is a point, which
    understates what few images can tell.

    Args:
        scores: (N,) float, finite; larger = more anomalous.
        labels: (N,) 0 and 1.
        categories: N names.
        num_resamples: Number of draws.
        confidence: Share of draws between the two ends, in (0, 1).
        seed: Of the draws; a category's draws do not depend on the categories after it.
        groups: N names of what must be drawn together, None for an image of its own; strata are
            then groups of normal images, of anomalous ones, and of both. A category whose normal or
            anomalous images lie in a single group has no interval.
        level: Names the metrics: ``image_auroc``.

    Raises:
        ValueError: If an argument lies outside its range, or lengths differ.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; by group:
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    expect_draws(num_resamples, confidence)
    all_scores, all_labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    names = tuple(dict.fromkeys(categories))
    of_image = np.asarray(categories)
    codes = None if groups is None else group_codes(groups, len(all_scores))
    per_category: dict[str, Draws] = {}
    for name, child in zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True):
        rows = of_image == name
        ranking = rank(all_scores[rows], all_labels[rows])
        own = None if codes is None else codes[rows]
        if ranking.is_defined and (own is None or has_several_groups(all_labels[rows], own)):
            rng = np.random.default_rng(child)
            found = _draws(ranking, all_scores[rows], all_labels[rows], own, num_resamples, rng)
            per_category[name] = {f"{level}_{metric}": draws for metric, draws in found.items()}
    mean_draws = {
        metric: np.mean([draws[metric] for draws in per_category.values()], axis=0)
        for metric in next(iter(per_category.values()), {})
    }
    return Intervals(
        per_category={name: _ends(draws, confidence) for name, draws in per_category.items()},
        mean=_ends(mean_draws, confidence),
        confidence=confidence,
        unit=IMAGES if groups is None else GROUPS,
    )


def expect_draws(num_resamples: int, confidence: float) -> None:
    """Refuse a number of draws or a confidence out of range.

    Raises:
        ValueError: With the range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"expected confidence in (0, 1), got {confidence}; 0.95 is usual")
    if num_resamples < 1:
        raise ValueError(f"expected num_resamples >= 1, got {num_resamples}; 1000 is usual")


def group_codes(groups: Sequence[str | None], size: int) -> NDArray[np.int64]:
    """(N,) number of the group of each image; None is a group of its own.

    Raises:
        ValueError: If there are not ``size`` of them.
    """
    if len(groups) != size:
        raise ValueError(f"expected one group per score, got {len(groups)} for {size} scores")
    number: dict[object, int] = {}
    keys = [(position,) if name is None else name for position, name in enumerate(groups)]
    return np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)


def has_several_groups(labels: NDArray, codes: NDArray[np.int64]) -> bool:
    """Whether both kinds of image lie in two groups or more; one group cannot vary."""
    return all(len(np.unique(codes[labels == label])) > 1 for label in (0, 1))


def group_times(
    labels: NDArray, codes: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(count, N) how often each image occurs in each of ``count`` resamples of whole groups.

    Args:
        labels: (N,) 0 and 1.
        codes: (N,) number of its group.
        count: Number of resamples.
        rng: Source of randomness.
    """
    names, place = np.unique(codes, return_inverse=True)
    kinds = np.zeros(len(names), dtype=np.int64)
    for label in (0, 1):
        kinds[np.unique(place[labels == label])] += 1 + label
    times = np.zeros((count, len(names)), dtype=np.int64)
    for kind in np.unique(kinds):
        stratum = np.flatnonzero(kinds == kind)
        times[:, stratum] = _times_drawn(len(stratum), count, rng)
    return times[:, place]


def weighted_metrics(
    ranking: Ranking, scores: NDArray, labels: NDArray, times: NDArray[np.int64]
) -> Draws:
    """(R,) of each metric, for images that occur (R, N) ``times``, in the order of ``scores``."""
    anomalous_times = times[:, labels == 1][:, ranking.order]
    normal_order = np.argsort(-scores[labels == 0], kind="stable")
    return _weighted_metrics(ranking, anomalous_times, times[:, labels == 0][:, normal_order])


def _draws(
    ranking: Ranking,
    scores: NDArray[np.float64],
    labels: NDArray,
    codes: NDArray[np.int64] | None,
    num_resamples: int,
    rng: np.random.Generator,
) -> Draws:
    """(num_resamples,) values of each metric."""
    block = max(1, BLOCK // len(scores))
    parts: list[Draws] = []
    for start in range(0, num_resamples, block):
        count = min(block, num_resamples - start)
        if codes is None:
            anomalous_times = _times_drawn(ranking.num_anomalous, count, rng)
            normal_times = _times_drawn(ranking.num_normal, count, rng)
            parts.append(_weighted_metrics(ranking, anomalous_times, normal_times))
        else:
            times = group_times(labels, codes, count, rng)
            parts.append(weighted_metrics(ranking, scores, labels, times))
    return {metric: np.concatenate([each[metric] for each in parts]) for metric in METRICS}


def _times_drawn(size: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, size) how often each of ``size`` images occurs in each of ``count`` resamples."""
    drawn = rng.integers(0, size, size=(count, size))
    drawn += np.arange(count)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)


def _weighted_metrics(
    ranking: Ranking, anomalous_times: NDArray[np.int64], normal_times: NDArray[np.int64]
) -> Draws:
    """(R,) of each metric of R resamples, without sorting again.

    Columns of ``anomalous_times`` follow ``ranking``, those of ``normal_times`` the normal items
    by falling score.
    """
    normals = np.pad(np.cumsum(normal_times, axis=1), ((0, 0), (1, 0)))
    above, at_or_above = normals[:, ranking.normals_above], normals[:, ranking.normals_from]
    found = np.cumsum(anomalous_times, axis=1)
    num_normal, num_anomalous = normals[:, -1:], found[:, -1:]
    lost = (anomalous_times * (above + at_or_above)).sum(axis=1)
    auroc = 1 - lost / (2 * num_anomalous * num_normal)[:, 0]

    last = ranking.last_of_ties()
    sizes = np.diff(last, prepend=-1)
    before = np.pad(found, ((0, 0), (1, 0)))[:, np.repeat(last - sizes + 1, sizes)]
    found = found[:, np.repeat(last, sizes)]
    # Where nothing was drawn at or above a score its weight is zero as well.
    precision = found / np.maximum(found + at_or_above, 1)
    average = (anomalous_times * precision).sum(axis=1) / num_anomalous[:, 0]

    corner = np.argmax(found * num_normal + at_or_above * num_anomalous
                       >= num_anomalous * num_normal, axis=1)[:, None]  # fmt: skip
    ends = (above / num_normal, before / num_anomalous)
    starts = (at_or_above / num_normal, found / num_anomalous)
    segment = (np.take_along_axis(each, corner, axis=1)[:, 0] for each in (*ends, *starts))
    return {"auroc": auroc, "ap": average, "eer": rate_on_segment(*segment)}


def _ends(draws: Draws, confidence: float) -> dict[str, Interval]:
    tail = 50 * (1 - confidence)
    return {
        metric: Interval(*(float(end) for end in np.percentile(values, (tail, 100 - tail))))
        for metric, values in draws.items()
    }
