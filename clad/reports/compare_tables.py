"""A comparison of runs as text, Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from clad.metrics.bootstrap import Interval
from clad.reports.comparison import CONFIDENCE, Comparison, MetricRow
from clad.reports.files import write_json, write_text
from clad.reports.tables import MEAN, UNDEFINED, format_fraction, markdown_of, ruled

_SMALLEST = 0.001
_USUAL = 0.05


class _Section(NamedTuple):
    """A table with its title; the last row may stand apart."""

    title: str
    cells: list[list[str]]
    num_last: int


def letter(place: int) -> str:
    """Name of a run: A is the first."""
    return ascii_uppercase[place]


def to_text(found: Sequence[Comparison]) -> str:
    """Everything for a terminal."""
    lines = list(_runs(found))
    for place, each in enumerate(found, 1):
        lines += ["", *_heading(each, place, len(found))]
        for section in _sections(each, letter(place)):
            lines += ["", section.title, ruled(section.cells, section.num_last)]
        lines += ["", *each.notes] if each.notes else []
    return "\n".join([*lines, "", *_small_print(found)])


def to_markdown(found: Sequence[Comparison]) -> str:
    """The same for a page."""
    lines = ["# Comparison of runs", "", *(f"- {line}" for line in _runs(found))]
    for place, each in enumerate(found, 1):
        lines += ["", f"## {letter(place)} against A", ""]
        lines += [f"- {line}" for line in _heading(each, place, 1)]
        for section in _sections(each, letter(place)):
            lines += ["", f"### {section.title}", "", markdown_of(section.cells, section.num_last)]
        lines += ["", *(f"- {note}" for note in each.notes)] if each.notes else []
    return "\n".join([*lines, "", *(f"- {line}" for line in _small_print(found)), ""])


def to_json(found: Sequence[Comparison], facts: dict[str, Any]) -> dict[str, Any]:
    """Plain values with all digits; NaN becomes None.

    Args:
        found: Every run against the first.
        facts: Goes in as it is: command, number of resamples.
    """
    return {
        **facts,
        "confidence": CONFIDENCE,
        "runs": {"A": str(found[0].first.path)}
        | {letter(place): str(each.second.path) for place, each in enumerate(found, 1)},
        "comparisons": [_plain(each, letter(place)) for place, each in enumerate(found, 1)],
    }


WRITERS: dict[str, Callable[[Path, Sequence[Comparison], dict[str, Any]], None]] = {
    ".json": lambda path, found, facts: write_json(path, to_json(found, facts)),
    ".md": lambda path, found, facts: write_text(path, to_markdown(found)),
}
"""What writes a file of that ending."""


def _runs(found: Sequence[Comparison]) -> Iterator[str]:
    yield f"A: {found[0].first.path}"
    for place, each in enumerate(found, 1):
        yield f"{letter(place)}: {each.second.path}"


def _heading(each: Comparison, place: int, num_others: int) -> Iterator[str]:
    against = f"{letter(place)} against A: " if num_others > 1 else ""
    where = "" if each.matched.is_whole else ", the images that both were tested on"
    yield (
        f"{against}{each.num_normal:,} normal and {each.num_anomalous:,} anomalous test "
        f"images{where}"
    )
    if not each.matched.is_whole:
        yield (
            f"left out: {each.matched.only_first} only in A, {each.matched.only_second} only in "
            f"{letter(place)}; numbers are not those of metrics.json"
        )
    for warning in each.warnings:
        yield f"warning: {warning}"


def _sections(each: Comparison, name: str) -> Iterator[_Section]:
    for metric in dict.fromkeys(row.metric for row in each.metrics):
        yield _metric_section([row for row in each.metrics if row.metric == metric], name)
    if each.verdicts:
        yield _verdict_section(each, name)
    for metric, rows in each.pixels.items():
        cells = [["category", "A", name, f"{name} - A"]]
        cells += [
            [row, *map(format_fraction, pair), _signed(pair[1] - pair[0])]
            for row, pair in rows.items()
        ]
        yield _Section(metric, cells, int(len(rows) > 1))


def _metric_section(rows: Sequence[MetricRow], name: str) -> _Section:
    metric = rows[0].metric
    hint = " (smaller is better)" if metric.endswith("_eer") else ""
    is_corrected = any(row.p_holm != row.p_value and not math.isnan(row.p_holm) for row in rows)
    has_delong = any(not math.isnan(row.delong) for row in rows)
    header = ["category", "A", name, f"{name} - A", f"{CONFIDENCE:.0%} interval", "p"]
    header += ["p (Holm)"] if is_corrected else []
    header += ["DeLong p"] if has_delong else []
    header += ["DeLong p (Holm)"] if has_delong and is_corrected else []
    cells = [header]
    for row in rows:
        values = [row.name, *map(format_fraction, row.values), _signed(row.difference)]
        tests = [row.p_value, *([row.p_holm] if is_corrected else [])]
        tests += [row.delong] if has_delong else []
        tests += [row.delong_holm] if has_delong and is_corrected else []
        cells.append([*values, _range(row.interval), *map(format_p, tests)])
    return _Section(f"{metric}{hint}", cells, int(rows[-1].name == MEAN))


def _verdict_section(each: Comparison, name: str) -> _Section:
    is_corrected = len(each.verdicts) > 1
    header = ["category", "images", "A right", f"{name} right", "only A", f"only {name}", "p"]
    cells = [[*header, *(["p (Holm)"] if is_corrected else [])]]
    for row in each.verdicts:
        counts = [row.num, *row.right, *row.only]
        tests = [row.p_value, *([row.p_holm] if is_corrected else [])]
        cells.append([row.name, *(f"{count:,}" for count in counts), *map(format_p, tests)])
    title = "verdicts at each run's own thresholds (McNemar's exact test)"
    return _Section(title, cells, int(each.verdicts[-1].is_total))


def _small_print(found: Sequence[Comparison]) -> Iterator[str]:
    units = ", ".join(dict.fromkeys(each.unit for each in found))
    draws = found[0].num_resamples
    yield (
        f"interval and p: paired bootstrap over {units}, stratified by category and label, "
        f"{draws:,} draws"
    )
    rows = [row for each in found for row in each.metrics if row.name != MEAN]
    num = max((sum(row.metric == m for row in rows) for m in {r.metric for r in rows}), default=1)
    if num > 1:
        over = "categories and runs" if len(found) > 1 else "categories"
        yield (
            f"p (Holm): corrected over the {num} rows of {over} that ask the same; the mean is a "
            "question of its own"
        )
    lowest = num * 2 / (draws + 1)
    if lowest > _USUAL:
        yield (
            f"no p of the bootstrap below {min(1, lowest):.2f} can come out of {draws:,} draws; "
            "raise --resamples"
        )
    yield (
        "one training each: nothing here says how far another seed would move a number; see "
        "`clad fit --seeds`"
    )


def _plain(each: Comparison, name: str) -> dict[str, Any]:
    return {
        "run": name,
        "num_normal": each.num_normal,
        "num_anomalous": each.num_anomalous,
        "only_first": each.matched.only_first,
        "only_second": each.matched.only_second,
        "unit": each.unit,
        "metrics": [
            {
                "metric": row.metric,
                "category": row.name,
                "first": _or_none(row.values[0]),
                "second": _or_none(row.values[1]),
                "difference": _or_none(row.difference),
                "interval": [_or_none(end) for end in row.interval],
                "p": _or_none(row.p_value),
                "p_holm": _or_none(row.p_holm),
                "delong_p": _or_none(row.delong),
                "delong_p_holm": _or_none(row.delong_holm),
            }
            for row in each.metrics
        ],
        "verdicts": [
            {
                "category": row.name,
                "num": row.num,
                "right": list(row.right),
                "only": list(row.only),
                "p": _or_none(row.p_value),
                "p_holm": _or_none(row.p_holm),
            }
            for row in each.verdicts
        ],
        "pixels": {
            metric: {row: [_or_none(value) for value in pair] for row, pair in rows.items()}
            for metric, rows in each.pixels.items()
        },
        "notes": list(each.notes),
        "warnings": list(each.warnings),
    }


def format_p(value: float) -> str:
    """Three digits, ``<0.001``, or the word ``undefined``."""
    if math.isnan(value):
        return UNDEFINED
    return f"<{_SMALLEST}" if value < _SMALLEST else f"{value:.3f}"


def _signed(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:+.3f}"


def _range(interval: Interval) -> str:
    if math.isnan(interval.low):
        return UNDEFINED
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
