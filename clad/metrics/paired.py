"""Two detectors on the same test images: how far apart, and whether more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clad.checks import expect_choice
from clad.metrics.bootstrap import (
    BLOCK,
    METRICS,
    Interval,
    expect_draws,
    group_codes,
    group_times,
    has_several_groups,
    weighted_metrics,
)
from clad.metrics.functional.ranking import rank


class Difference(NamedTuple):
    """A metric of the first scores less that of the second.

    Args:
        value: On the test images themselves, in [-1, 1]: the mean over categories; NaN if no
            category has both kinds of image in two groups or more.
        interval: Bootstrap interval of it; NaN likewise.
        p_value: Two-sided, in (0, 1]: twice the share of resamples on the rarer side of zero.
        left_out: Categories without a value.
    """

    value: float
    interval: Interval
    p_value: float
    left_out: tuple[str, ...] = ()


class Differences(NamedTuple):
    """A metric of the first scores less that of the second, from one set of draws.

    Args:
        per_category: Category name -> difference.
        mean: Of their mean.
    """

    per_category: dict[str, Difference]
    mean: Difference


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    categories: Sequence[str],
    groups: Sequence[str | None] | None = None,
    metric: str = "auroc",
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """The mean over categories of one metric; arguments and errors as in ``paired_differences``."""
    found = paired_differences(
        first, second, labels, categories, groups, (metric,), num_resamples, confidence, seed
    )
    return found[metric].mean


def paired_differences(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    categories: Sequence[str],
    groups: Sequence[str | None] | None = None,
    metrics: Sequence[str] = METRICS,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Differences]:
    """Paired bootstrap: both score the same resamples, so what is hard for both cancels.

    Args:
        first: (N,) float scores of one detector.
        second: (N,) float scores of the other, of the same images in the same order.
        labels: (N,) 0 and 1.
        categories: N names; the mean is taken over them.
        groups: N names of what is drawn together (videos, persons), as in ``bootstrap_intervals``.
        metrics: Of ``auroc``, ``ap``, ``eer`` (smaller is better: a negative difference is a gain).
        num_resamples: Number of draws.
        confidence: Share of draws inside the interval, in (0, 1).
        seed: Of the draws.

    Returns:
        Metric -> its differences.

    Raises:
        ValueError: If lengths differ or an argument lies outside its range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16.
    """
    for metric in metrics:
        expect_choice("metric", metric, METRICS)
    expect_draws(num_resamples, confidence)
    both = [np.asarray(scores, dtype=np.float64) for scores in (first, second)]
    truth = np.asarray(labels)
    if not len(both[0]) == len(both[1]) == len(truth) == len(categories):
        raise ValueError(
            f"expected scores of both, labels and categories of the same images, got "
            f"{len(both[0])}, {len(both[1])}, {len(truth)} and {len(categories)}"
        )
    codes = group_codes([None] * len(truth) if groups is None else groups, len(truth))
    of_image = np.asarray(categories)
    names = tuple(dict.fromkeys(categories))
    drawn: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, child in zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True):
        rows = of_image == name
        if has_several_groups(truth[rows], codes[rows]):
            rng = np.random.default_rng(child)
            pair = [each[rows] for each in both]
            drawn[name] = _differences(pair, truth[rows], codes[rows], metrics, num_resamples, rng)
    return {
        metric: _summarised({n: each[metric] for n, each in drawn.items()}, names, confidence)
        for metric in metrics
    }


def _summarised(
    drawn: Mapping[str, NDArray[np.float64]], names: Sequence[str], confidence: float
) -> Differences:
    left_out = tuple(name for name in names if name not in drawn)
    nothing = Difference(math.nan, Interval(math.nan, math.nan), math.nan)
    per_category = {
        name: _summary(drawn[name], confidence)
        if name in drawn
        else nothing._replace(left_out=(name,))
        for name in names
    }
    if not drawn:
        return Differences(per_category, nothing._replace(left_out=left_out))
    mean = _summary(np.mean(list(drawn.values()), axis=0), confidence)
    return Differences(per_category, mean._replace(left_out=left_out))


def _summary(own_and_drawn: NDArray[np.float64], confidence: float) -> Difference:
    """Of the value on the images themselves, then those of the resamples."""
    spread, tail = own_and_drawn[1:], 50 * (1 - confidence)
    low, high = (float(end) for end in np.percentile(spread, (tail, 100 - tail)))
    rarer = min(int((spread <= 0).sum()), int((spread >= 0).sum()))
    p_value = min(1.0, 2 * (rarer + 1) / (len(spread) + 1))
    return Difference(float(own_and_drawn[0]), Interval(low, high), p_value)


def _differences(
    pair: Sequence[NDArray[np.float64]],
    labels: NDArray,
    codes: NDArray[np.int64],
    metrics: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.float64]]:
    """(1 + num_resamples,) by metric: on the images themselves, then on each resample."""
    rankings = [rank(scores, labels) for scores in pair]

    def differences(times: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        first, second = (
            weighted_metrics(ranking, scores, labels, times)
            for ranking, scores in zip(rankings, pair, strict=True)
        )
        return {metric: first[metric] - second[metric] for metric in metrics}

    parts = [differences(np.ones((1, len(labels)), dtype=np.int64))]
    block = max(1, BLOCK // len(labels))
    for start in range(0, num_resamples, block):
        count = min(block, num_resamples - start)
        parts.append(differences(group_times(labels, codes, count, rng)))
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in metrics}
