"""Two detectors on the same test images: how far apart, and whether more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Paired bootstrap: both score the same resamples, so what is hard for both cancels.

    Args:
        first: (N,) float scores of one detector.
        second: (N,) float scores of the other, of the same images in the same order.
        labels: (N,) 0 and 1.
        categories: N names; the difference is the mean over them.
        groups: N names of what is drawn together (videos, persons), as in ``bootstrap_intervals``.
        metric: ``auroc``, ``ap`` or ``eer`` (smaller is better: a negative difference is a gain).
        num_resamples: Number of draws.
        confidence: Share of draws inside the interval, in (0, 1).
        seed: Of the draws.

    Raises:
        ValueError: If lengths differ or an argument lies outside its range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16.
    """
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
    values, draws, left_out = [], [], []
    for name, child in zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True):
        rows = of_image == name
        if not has_several_groups(truth[rows], codes[rows]):
            left_out.append(name)
            continue
        rng = np.random.default_rng(child)
        pair = [each[rows] for each in both]
        own = _differences(pair, truth[rows], codes[rows], metric, num_resamples, rng)
        values.append(float(own[0]))
        draws.append(own[1:])
    if not values:
        return Difference(math.nan, Interval(math.nan, math.nan), math.nan, names)
    value, spread = math.fsum(values) / len(values), np.mean(draws, axis=0)
    tail = 50 * (1 - confidence)
    low, high = (float(end) for end in np.percentile(spread, (tail, 100 - tail)))
    rarer = min(int((spread <= 0).sum()), int((spread >= 0).sum()))
    p_value = min(1.0, 2 * (rarer + 1) / (num_resamples + 1))
    return Difference(value, Interval(low, high), p_value, tuple(left_out))


def _differences(
    pair: Sequence[NDArray[np.float64]],
    labels: NDArray,
    codes: NDArray[np.int64],
    metric: str,
    num_resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(1 + num_resamples,) first on the images themselves, then on each resample."""
    rankings = [rank(scores, labels) for scores in pair]

    def difference(times: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = (
            weighted_metrics(ranking, scores, labels, times)[metric]
            for ranking, scores in zip(rankings, pair, strict=True)
        )
        return first - second

    parts = [difference(np.ones((1, len(labels)), dtype=np.int64))]
    block = max(1, BLOCK // len(labels))
    for start in range(0, num_resamples, block):
        count = min(block, num_resamples - start)
        parts.append(difference(group_times(labels, codes, count, rng)))
    return np.concatenate(parts)
