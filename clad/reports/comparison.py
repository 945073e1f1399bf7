"""Two or more runs on the same test images: how far apart they are, and whether beyond chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from clad.metrics.bootstrap import Interval
from clad.metrics.evaluation import Values
from clad.metrics.functional.holm import holm
from clad.reports.compared_levels import Level, compare_level, levels_of
from clad.reports.compared_verdicts import VerdictRow, compare_verdicts, verdict_problem
from clad.reports.matching import Matched, match_images, setting, take_rows
from clad.reports.run_directory import Run
from clad.reports.tables import MEAN

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MetricRow:
    """One metric of one category, or its mean over categories; NaN where undefined.

    Args:
        metric: ``image_auroc``.
        name: Category, or ``mean``.
        values: Of the first and of the second run.
        difference: The second less the first.
        interval: Paired bootstrap.
        p_value: Of it.
        p_holm: Likewise, corrected over all rows of the metric.
        delong: p-value of DeLong's test; of AUROC alone.
        delong_holm: Likewise, corrected.
    """

    metric: str
    name: str
    values: tuple[float, float]
    difference: float
    interval: Interval
    p_value: float
    p_holm: float = math.nan
    delong: float = math.nan
    delong_holm: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """One run against the first.

    Args:
        first: The run that is compared with.
        second: The run that is compared.
        matched: Their common test images.
        num_normal: Number of normal images among those.
        num_anomalous: Number of anomalous ones.
        unit: What the bootstrap drew, in words.
        num_resamples: How often it did.
        metrics: Rows by metric; the mean last where there are several categories.
        verdicts: At each run's own thresholds; all images last, where there are several categories.
        pixels: Metric -> category (and ``mean``) -> values of both runs.
        notes: Why something has no value, one sentence each.
        warnings: In what else the runs differ, one sentence each.
    """

    first: Run
    second: Run
    matched: Matched
    num_normal: int
    num_anomalous: int
    unit: str
    num_resamples: int
    metrics: tuple[MetricRow, ...]
    verdicts: tuple[VerdictRow, ...]
    pixels: dict[str, dict[str, tuple[float, float]]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def compare_runs(
    first: Run, others: Sequence[Run], is_common: bool = False, num_resamples: int = 1000
) -> tuple[Comparison, ...]:
    """Every other run against the first, image by image.

    Args:
        first: What the others are compared with.
        others: At least one.
        is_common: Whether images that only one of two runs has are left out, instead of refused.
        num_resamples: Of the paired bootstrap.

    Raises:
        ValueError: If test images differ, or a setting lies outside its range.
    """
    found = [_compare(first, other, is_common, num_resamples) for other in others]
    return tuple(_corrected(found))


def _compare(first: Run, second: Run, is_common: bool, num_resamples: int) -> Comparison:
    matched = match_images(first, second)
    if not matched.is_whole and not is_common:
        raise ValueError(
            f"expected runs that were tested on the same images, got {matched.only_first} only in "
            f"{first.path} and {matched.only_second} only in {second.path}; pass --common to "
            f"compare on the {len(matched.first)} that are in both"
        )
    one = take_rows(first.predictions, matched.first)
    other = take_rows(second.predictions, matched.second)
    # Frames, videos and persons are those of the images, so one run's word on them is enough.
    known = one if any(one.groups) or any(one.origins) else other
    one = replace(one, groups=known.groups, origins=known.origins)
    other = replace(other, paths=one.paths, groups=known.groups, origins=known.origins)
    settings = (first.evaluation.settings, second.evaluation.settings)
    levels = levels_of(one, other, settings)
    rows: list[MetricRow] = []
    notes: list[str] = []
    for level in levels:
        more, why = _metric_rows(level, num_resamples)
        rows += more
        notes += why
    problem = verdict_problem(one, other, levels[0].is_grouped)
    if problem is not None:
        notes.append(problem)
    is_anomalous = one.labels == 1
    return Comparison(
        first,
        second,
        matched,
        num_normal=int((~is_anomalous).sum()),
        num_anomalous=int(is_anomalous.sum()),
        unit=levels[0].unit,
        num_resamples=num_resamples,
        metrics=tuple(rows),
        verdicts=compare_verdicts(one, other, levels[0].is_grouped),
        pixels=_pixel_values(first, second) if matched.is_whole else {},
        notes=(*notes, *_pixel_notes(first, second, matched)),
        warnings=tuple(_warnings(first, second)),
    )


def _metric_rows(level: Level, num_resamples: int) -> tuple[list[MetricRow], list[str]]:
    found = compare_level(level, num_resamples, CONFIDENCE)
    rows: list[MetricRow] = []
    for metric, differences in found.differences.items():
        values = found.values[metric]
        counted = []
        for name, each in differences.per_category.items():
            delong = found.delong[name].p_value if metric == "auroc" else math.nan
            own = values[name]
            difference = own[1] - own[0]
            rows.append(
                MetricRow(
                    f"{level.name}_{metric}", name, own, difference, each.interval, each.p_value,
                    delong=delong,
                )
            )  # fmt: skip
            if name not in differences.mean.left_out:
                counted.append(own)
        if len(values) > 1:
            mean = differences.mean
            sides = [[own[side] for own in counted] for side in (0, 1)]
            a, b = (math.fsum(s) / len(s) if s else math.nan for s in sides)
            delong = found.mean_delong if metric == "auroc" else math.nan
            rows.append(
                MetricRow(
                    f"{level.name}_{metric}", MEAN, (a, b), b - a, mean.interval, mean.p_value,
                    delong=delong,
                )
            )  # fmt: skip
    return rows, found.notes


def _corrected(found: Sequence[Comparison]) -> Iterator[Comparison]:
    """With Holm's correction: over categories and runs, and over runs where it is a mean.

    Each metric, and each kind of test, is a question of its own.
    """
    rows = [row for each in found for row in each.metrics]
    families = [(row.metric, row.name == MEAN) for row in rows]
    p_holm = _by_family(families, [row.p_value for row in rows])
    delong = _by_family(families, [row.delong for row in rows])
    new_rows = iter(
        replace(row, p_holm=p, delong_holm=d)
        for row, p, d in zip(rows, p_holm, delong, strict=True)
    )
    verdicts = [row for each in found for row in each.verdicts]
    mcnemar = _by_family([row.is_total for row in verdicts], [row.p_value for row in verdicts])
    new_verdicts = iter(replace(row, p_holm=p) for row, p in zip(verdicts, mcnemar, strict=True))
    for each in found:
        yield replace(
            each,
            metrics=tuple(islice(new_rows, len(each.metrics))),
            verdicts=tuple(islice(new_verdicts, len(each.verdicts))),
        )


def _by_family(families: Sequence[object], p_values: Sequence[float]) -> list[float]:
    corrected = [math.nan] * len(p_values)
    for family in set(families):
        places = [place for place, own in enumerate(families) if own == family]
        for place, p in zip(places, holm([p_values[place] for place in places]), strict=True):
            corrected[place] = p
    return corrected


def _pixel_values(first: Run, second: Run) -> dict[str, dict[str, tuple[float, float]]]:
    one, other = first.evaluation, second.evaluation
    rows: dict[str, tuple[Values, Values]] = {
        name: (own, other.per_category[name]) for name, own in one.per_category.items()
    }
    if len(rows) > 1:
        rows[MEAN] = (one.mean, other.mean)
    names = [name for name in one.mean if name.startswith("pixel_") and name in other.mean]
    return {
        metric: {
            row: (a.get(metric, math.nan), b.get(metric, math.nan)) for row, (a, b) in rows.items()
        }
        for metric in names
        if not (math.isnan(one.mean[metric]) and math.isnan(other.mean[metric]))
    }


def _pixel_notes(first: Run, second: Run, matched: Matched) -> Iterator[str]:
    names = [
        name
        for name, value in first.evaluation.mean.items()
        if name.startswith("pixel_")
        and not (math.isnan(value) and math.isnan(second.evaluation.mean.get(name, math.nan)))
    ]
    if names and matched.is_whole:
        yield "pixel metrics: no interval and no p-value, because maps are not kept"
    elif names:
        yield "pixel metrics: not shown, because maps of the common images alone are not kept"


def _warnings(first: Run, second: Run) -> Iterator[str]:
    """What else differs, so that a difference of the numbers may come of it."""
    checks: dict[str, Callable[[Run], object]] = {
        "fingerprints of the data (files, sizes or roles)": lambda r: (r.data or {}).get("sha256"),
        "seeds": lambda r: (r.card.get("seed"), setting(r, "data", "seed")),
        "image sizes": lambda r: setting(r, "data", "image_size"),
        "ways from frames to videos": lambda r: (
            r.evaluation.settings.video_score,
            r.evaluation.settings.top_k,
        ),
    }
    for what, value_of in checks.items():
        one, other = value_of(first), value_of(second)
        if one != other:
            yield f"the {what} differ: {_shown(one)} and {_shown(other)}"


def _shown(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value[:12]
    if isinstance(value, list | tuple):
        return " / ".join(map(str, value))
    return str(value)
