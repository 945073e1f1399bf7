"""Images, frames and videos of two runs: metrics, paired bootstrap and DeLong's test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clad.metrics.bootstrap import GROUPS, IMAGES, group_codes, has_several_groups
from clad.metrics.faces import groups_to_draw, levels_that_differ, pool_levels
from clad.metrics.functional.auroc import auroc_of
from clad.metrics.functional.average_precision import average_precision_of
from clad.metrics.functional.delong import DeLong, delong_test, two_sided
from clad.metrics.functional.eer import equal_error_rate_of
from clad.metrics.functional.ranking import rank
from clad.metrics.functional.validate import undefined_reason
from clad.metrics.paired import Differences, paired_differences
from clad.metrics.settings import MetricSettings
from clad.reports.run_directory import PredictionTable

_METRICS = {
    "auroc": auroc_of,
    "ap": average_precision_of,
    "eer": equal_error_rate_of,
}
Pair = tuple[float, float]


class Level(NamedTuple):
    """Scores of both runs on one level.

    Args:
        name: ``image``, ``frame`` or ``video``.
        scores: (N,) of the first and of the second run.
        labels: (N,) 0 and 1.
        categories: N names.
        groups: N names of what hangs together; None where every item stands alone.
    """

    name: str
    scores: tuple[NDArray[np.float64], NDArray[np.float64]]
    labels: NDArray[np.int64]
    categories: tuple[str, ...]
    groups: tuple[str | None, ...] | None

    @property
    def codes(self) -> NDArray[np.int64]:
        """(N,) number of the group of each item."""
        alone = (None,) * len(self.labels)
        return group_codes(self.groups or alone, len(self.labels))

    @property
    def is_grouped(self) -> bool:
        """Whether some items hang together."""
        return len(np.unique(self.codes)) < len(self.labels)

    @property
    def unit(self) -> str:
        """What a bootstrap draws, in words."""
        return GROUPS if self.is_grouped else IMAGES


class ComparedLevel(NamedTuple):
    """What was found on one level.

    Args:
        values: Metric -> category -> values of both runs.
        differences: Metric -> the second run less the first.
        delong: Category -> test of AUROC; NaN where items hang together.
        mean_delong: p-value of the mean over categories.
        notes: Why something has no value.
    """

    values: dict[str, dict[str, Pair]]
    differences: dict[str, Differences]
    delong: dict[str, DeLong]
    mean_delong: float
    notes: list[str]


def levels_of(
    first: PredictionTable,
    second: PredictionTable,
    settings: tuple[MetricSettings, MetricSettings],
) -> list[Level]:
    """Images, and frames and videos where they are not the same.

    Args:
        first: Rows of one run.
        second: Rows of the other: the same images in the same order, with the same origins.
        settings: How each run makes videos of frames.

    Raises:
        ValueError: If labels differ within a frame or video.
    """
    groups = groups_to_draw(first)
    rows_of = {name: first.rows_of(name) for name in first.category_names}
    pooled = {
        name: tuple(
            pool_levels(table, rows, own)
            for table, own in zip((first, second), settings, strict=True)
        )
        for name, rows in rows_of.items()
    }
    levels = []
    for level in levels_that_differ([one for one, _ in pooled.values()]):
        names = [name for name, (one, _) in pooled.items() if level in one]
        both = [[pooled[name][side][level] for name in names] for side in (0, 1)]
        places = [rows_of[n][each.first] for n, each in zip(names, both[0], strict=True)]
        drawn = None if groups is None else tuple(groups[row] for own in places for row in own)
        levels.append(
            Level(
                level,
                (
                    np.concatenate([each.scores for each in both[0]]),
                    np.concatenate([each.scores for each in both[1]]),
                ),
                np.concatenate([each.labels for each in both[0]]),
                tuple(n for n, own in zip(names, places, strict=True) for _ in own),
                drawn,
            )
        )
    return levels


def compare_level(level: Level, num_resamples: int, confidence: float) -> ComparedLevel:
    """Values of both, paired bootstrap of the second less the first, and DeLong's test.

    Raises:
        ValueError: If a setting of the bootstrap lies outside its range.
    """
    first, second = level.scores
    differences = paired_differences(
        second, first, level.labels, level.categories, level.groups,
        tuple(_METRICS), num_resamples, confidence,
    )  # fmt: skip
    values: dict[str, dict[str, Pair]] = {metric: {} for metric in _METRICS}
    delong: dict[str, DeLong] = {}
    notes: list[str] = []
    of_item = np.asarray(level.categories)
    for name in dict.fromkeys(level.categories):
        rows = of_item == name
        labels = level.labels[rows]
        rankings = [rank(scores[rows], labels) for scores in level.scores]
        for metric, value_of in _METRICS.items():
            values[metric][name] = (value_of(rankings[0]), value_of(rankings[1]))
        if level.is_grouped:
            delong[name] = DeLong(math.nan, math.nan, math.nan)
        else:
            delong[name] = delong_test(second[rows], first[rows], labels)
            notes += _delong_note(level, name, delong[name])
        notes += _reasons(level, name, labels, level.codes[rows])
    if level.is_grouped:
        notes.append(
            f"{level.name}s: no DeLong test, because they hang together (videos, persons) and it "
            "takes them as independent; the bootstrap draws whole groups"
        )
    left_out = differences["auroc"].mean.left_out
    if left_out and len(left_out) < len(delong):
        notes.append(f"{level.name}s: the mean leaves out {', '.join(left_out)}")
    counted = [each for name, each in delong.items() if name not in left_out]
    return ComparedLevel(values, differences, delong, _mean_p_value(counted), notes)


def _mean_p_value(tests: Sequence[DeLong]) -> float:
    """Of the mean difference: categories share no image, so their variances add."""
    if not tests:
        return math.nan
    error = math.sqrt(math.fsum(each.standard_error**2 for each in tests))
    return two_sided(math.fsum(each.difference for each in tests), error)


def _reasons(level: Level, name: str, labels: NDArray, codes: NDArray[np.int64]) -> list[str]:
    reason = undefined_reason(labels, level.name)
    if reason is not None:
        return [f"{level.name}s of {name}: undefined, {reason}"]
    if not has_several_groups(labels, codes):
        kinds = "normal" if len(np.unique(codes[labels == 0])) < 2 else "anomalous"
        return [
            f"{level.name}s of {name}: no interval and no p-value, because the {kinds} ones are "
            "one, or of one group, and cannot vary"
        ]
    return []


def _delong_note(level: Level, name: str, found: DeLong) -> list[str]:
    if math.isnan(found.p_value) and found.standard_error == 0:
        return [
            f"{level.name}s of {name}: no DeLong test, because the difference is the same for "
            "every one and has no spread to be measured by"
        ]
    return []
