"""Frames, videos, kinds of forgery and families of generators, as tables of numbers and as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from clad.metrics.evaluation import Evaluation
from clad.metrics.faces import LEVELS
from clad.reports.tables import MEAN, align_columns, format_fraction

_RANKING = ("auroc", "ap", "eer")
_LEVEL_COLUMNS = (*_RANKING, "accuracy", "recall", "false_alarm_rate", "oracle_accuracy")
_KIND_COLUMNS = (*_RANKING, "accuracy", "recall")
_EQUAL = {"image": ("frame", "video"), "frame": ("video",), "video": ()}


class FaceRow(NamedTuple):
    """One line.

    Args:
        name: What was measured.
        number: How many of it there are; empty where unknown.
        level: ``image``, ``frame`` or ``video``.
        values: Fractions in the order of the columns, NaN where undefined.
        category: It belongs to; empty for means over categories.
    """

    name: str
    number: str
    level: str
    values: tuple[float, ...]
    category: str = ""


class FaceTable(NamedTuple):
    """A title, columns and rows.

    Args:
        title: Of the first column.
        number: Of the second.
        columns: Names of metrics, less their level.
        rows: Lines; the first is of a category.
        num_means: How many of the last are means.
    """

    title: str
    number: str
    columns: tuple[str, ...]
    rows: tuple[FaceRow, ...]
    num_means: int


def level_table(evaluation: Evaluation) -> FaceTable | None:
    """Images, frames and videos of each category of faces; None where there is none."""
    rows: list[FaceRow] = []
    faces = {n: row for n, row in evaluation.per_category.items() if "image_eer" in row}
    levels = [level for level in LEVELS if f"{level}_auroc" in evaluation.mean]
    for name, values in faces.items():
        counts = evaluation.counts.get(name, {})
        for level in levels:
            shown = f"{name}, {level}s{_equal_levels(level, counts, levels)}"
            count = f"{counts[f'{level}s']:,}" if counts else ""
            rows.append(FaceRow(shown, count, level, _values(values, level), name))
    if not rows:
        return None
    means = []
    if len(faces) > 1:
        means = [
            FaceRow(f"{MEAN}, {level}s", "", level, _values(evaluation.mean, level))
            for level in levels
        ]
    return _without_empty(FaceTable("faces", "number", _LEVEL_COLUMNS, (*rows, *means), len(means)))


def kind_table(evaluation: Evaluation) -> FaceTable | None:
    """Each kind of forgery against all real images of its category, and the mean over kinds.

    Nothing where no category has several: the table of levels says the same.
    """
    rows: list[FaceRow] = []
    means: list[FaceRow] = []
    levels = [level for level in LEVELS if f"{level}_auroc" in evaluation.mean]
    for category, kinds in evaluation.per_manipulation.items():
        for level in levels:
            for kind, values in kinds.items():
                name = f"{category}, {level}s of {kind}"
                rows.append(
                    FaceRow(name, "", level, _values(values, level, _KIND_COLUMNS), category)
                )
            if len(kinds) < 2:
                continue
            own = {
                metric.removeprefix("manipulation_mean_"): value
                for metric, value in evaluation.per_category[category].items()
            }
            mean = tuple(own.get(f"{level}_{metric}", math.nan) for metric in _KIND_COLUMNS)
            name = f"{category}, {level}s, {MEAN} over {len(kinds)}"
            means.append(FaceRow(name, "", level, mean, category))
    if not means:
        return None
    table = FaceTable("kind of forgery", "", _KIND_COLUMNS, (*rows, *means), len(means))
    return _without_empty(table)


def family_table(evaluation: Evaluation) -> FaceTable | None:
    """The mean over the generators of each family; there is none over all."""
    rows: list[FaceRow] = []
    families = list(evaluation.family_of.values())
    for family, values in evaluation.families.items():
        for level in (each for each in LEVELS if f"{each}_auroc" in values):
            name = family.replace("_", " ") + ("" if level == "image" else f", {level}s")
            count = str(families.count(family))
            rows.append(FaceRow(name, count, level, _values(values, level, _KIND_COLUMNS)))
    if not rows:
        return None
    table = FaceTable("mean over generators", "number", _KIND_COLUMNS, tuple(rows), 0)
    return _without_empty(table)


def face_sentences(evaluation: Evaluation) -> Iterator[str]:
    """What is known of missing faces, natural photographs and the generators of each family."""
    frames = sum(counts["frames"] for counts in evaluation.counts.values())
    if frames:
        missing = sum(counts["no_face"] for counts in evaluation.counts.values())
        level = [each for each in LEVELS if f"{each}_auroc_faces_only" in evaluation.mean][-1]
        with_all, with_face = (
            format_fraction(evaluation.mean[f"{level}_auroc{which}"])
            for which in ("", "_faces_only")
        )
        yield (
            f"no face in {missing:,} of {frames:,} frames ({missing / frames:.1%}), which were "
            f"scored whole; {level} AUROC {with_all}, without them {with_face}"
        )
    natural = evaluation.mean.get("natural_specificity")
    if natural is not None:
        yield f"natural photographs: specificity {format_fraction(natural)}"
    for family in evaluation.families:
        names = sorted(name for name, own in evaluation.family_of.items() if own == family)
        yield f"{family.replace('_', ' ')}: {', '.join(names)}"


def face_lines(evaluation: Evaluation) -> Iterator[str]:
    """All of it as text for a terminal; nothing for runs without faces."""
    for table in (level_table(evaluation), kind_table(evaluation), family_table(evaluation)):
        if table is None:
            continue
        has_count = any(row.number for row in table.rows)
        header = [table.title, *((table.number,) if has_count else ()), *table.columns]
        cells = [
            [row.name, *((row.number,) if has_count else ()), *map(format_fraction, row.values)]
            for row in table.rows
        ]
        yield ""
        yield from align_columns([header, *cells])
    sentences = list(face_sentences(evaluation))
    if sentences:
        yield ""
        yield from sentences


def _values(
    values: Mapping[str, float], level: str, columns: tuple[str, ...] = _LEVEL_COLUMNS
) -> tuple[float, ...]:
    return tuple(values.get(f"{level}_{column}", math.nan) for column in columns)


def _equal_levels(level: str, counts: Mapping[str, int], levels: list[str]) -> str:
    """`` = frames`` where the next level has as many, and therefore no line of its own."""
    names = [each for each in _EQUAL[level] if each not in levels]
    same = [each for each in names if counts and counts[f"{each}s"] == counts[f"{level}s"]]
    return "".join(f" = {each}s" for each in same)


def _without_empty(table: FaceTable) -> FaceTable:
    """Without columns that no row has a value for."""
    kept = [
        place
        for place in range(len(table.columns))
        if any(not math.isnan(row.values[place]) for row in table.rows)
    ]
    rows = (row._replace(values=tuple(row.values[place] for place in kept)) for row in table.rows)
    return table._replace(columns=tuple(table.columns[place] for place in kept), rows=tuple(rows))
