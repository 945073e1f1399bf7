"""The part of a report about forged faces: frames, videos, kinds, families, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from clad.metrics.bootstrap import Interval, Intervals, bootstrap_intervals
from clad.metrics.faces import groups_to_draw, pool_levels
from clad.reports.face_tables import (
    FaceRow,
    FaceTable,
    face_sentences,
    family_table,
    kind_table,
    level_table,
)
from clad.reports.markup import Markup, join, tag
from clad.reports.run_directory import Run
from clad.reports.tables import format_fraction

_TITLES = {
    "auroc": "AUROC",
    "ap": "AP",
    "eer": "EER",
    "accuracy": "Accuracy",
    "recall": "Recall",
    "false_alarm_rate": "False alarms",
    "oracle_accuracy": "Oracle accuracy",
}
_NOTE = (
    "An equal error rate is better the smaller it is. Accuracy, recall and false alarms are taken "
    "at the threshold of their level, fitted on validation; oracle accuracy at the best threshold "
    "on these very images, which no detector knows. Each kind of forgery stands against all real "
    "images of its category. No mean is taken over families of generators."
)


def faces_section(run: Run) -> Markup | None:
    """Tables of faces with bootstrap intervals by video or person; None for runs without faces."""
    levels = level_table(run.evaluation)
    if levels is None:
        return None
    intervals = level_intervals(run)
    others = (kind_table(run.evaluation), family_table(run.evaluation))
    parts = [_table(levels, intervals), *(_table(table, {}) for table in others if table)]
    parts += [tag("p", sentence) for sentence in face_sentences(run.evaluation)]
    one = next(iter(intervals.values()))
    drawn = f" Small numbers are {one.confidence:.0%} bootstrap intervals over {one.unit}."
    return join(*parts, tag("p", _NOTE + drawn, class_="note"))


def level_intervals(run: Run) -> dict[str, Intervals]:
    """Level -> intervals of its AUROC, AP and EER, drawn by group, video or frame."""
    predictions = run.predictions
    groups = groups_to_draw(predictions)
    names = [n for n, row in run.evaluation.per_category.items() if "image_eer" in row]
    of_level: dict[str, list[tuple]] = {}
    for name in names:
        rows = predictions.rows_of(name)
        for level, each in pool_levels(predictions, rows, run.evaluation.settings).items():
            own = None if groups is None else [groups[row] for row in rows[each.first]]
            columns = (each.scores, each.labels, [name] * len(each), own or [None] * len(each))
            of_level.setdefault(level, []).append(columns)
    found: dict[str, Intervals] = {}
    for level, parts in of_level.items():
        scores, labels = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
        categories, drawn = ([n for part in parts for n in part[place]] for place in (2, 3))
        found[level] = bootstrap_intervals(
            scores, labels, categories, groups=None if groups is None else drawn, level=level
        )
    return found


def _table(table: FaceTable, intervals: Mapping[str, Intervals]) -> Markup:
    has_count = any(row.number for row in table.rows)
    head = [tag("th", table.title.capitalize(), scope="col")]
    head += [tag("th", table.number.capitalize(), scope="col")] if has_count else []
    head += [tag("th", _TITLES[column], scope="col") for column in table.columns]
    first_mean = len(table.rows) - table.num_means
    body = [
        tag(
            "tr",
            *_cells(row, table.columns, has_count, intervals.get(row.level)),
            class_="mean" if place >= first_mean else None,
        )
        for place, row in enumerate(table.rows)
    ]
    whole = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_="metrics")
    return tag("div", whole, class_="scroll wide", tabindex=0)


def _cells(
    row: FaceRow, columns: tuple[str, ...], has_count: bool, intervals: Intervals | None
) -> list[Markup]:
    cells = [tag("th", row.name, scope="row")]
    cells += [tag("td", row.number)] if has_count else []
    own: Mapping[str, Interval] = {}
    if intervals is not None:
        own = intervals.per_category.get(row.category, {}) if row.category else intervals.mean
    for column, value in zip(columns, row.values, strict=True):
        interval = own.get(f"{row.level}_{column}")
        ends = None if interval is None else " to ".join(map(format_fraction, interval))
        cells.append(
            tag(
                "td",
                format_fraction(value),
                tag("small", ends) if ends else None,
                class_="undefined" if math.isnan(value) else None,
            )
        )
    return cells
