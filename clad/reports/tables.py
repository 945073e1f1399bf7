"""Evaluation -> a table for the terminal, Markdown or CSV; means come last."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from clad.metrics.evaluate import Evaluation

UNDEFINED = "undefined"
MEAN = "mean"


@dataclass(frozen=True)
class Table:
    """A header and rows of numbers.

    Args:
        metrics: Names of the columns after the first, which holds category names.
        rows: (name, values); values are fractions in the order of ``metrics``, NaN = undefined.
        num_means: How many of the last rows are means.
    """

    metrics: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    num_means: int = 1


def metrics_table(evaluation: Evaluation, metrics: Sequence[str] | None = None) -> Table:
    """One row per category, then the mean of each domain if there are several, then the mean.

    Args:
        evaluation: What to show.
        metrics: Columns to show, in this order; None shows every metric that is defined somewhere.

    Raises:
        ValueError: If a metric is unknown.
    """
    if metrics is None:
        metrics = [name for name, value in evaluation.mean.items() if not math.isnan(value)]
    unknown = [name for name in metrics if name not in evaluation.mean]
    if unknown:
        raise ValueError(f"expected metrics among {sorted(evaluation.mean)}, got {unknown}")
    domains = [(domain_mean(name), row) for name, row in evaluation.per_domain.items()]
    named = [*evaluation.per_category.items(), *domains, (MEAN, evaluation.mean)]
    rows = tuple((name, tuple(values.get(m, math.nan) for m in metrics)) for name, values in named)
    return Table(tuple(metrics), rows, num_means=1 + len(domains))


def domain_mean(domain: str) -> str:
    """Name of the row with the mean of a domain."""
    return f"{MEAN} {domain}"


def format_fraction(value: float, digits: int = 3) -> str:
    """The number with fixed digits, or the word ``undefined``; 1.000 only if nothing is missing."""
    if math.isnan(value):
        return UNDEFINED
    text = f"{value:.{digits}f}"
    if value < 1 and float(text) >= 1:
        # A reader takes 1.000 for a perfect score; show the last value below it instead.
        return f"{1 - 10**-digits:.{digits}f}"
    return text


def to_text(table: Table) -> str:
    """Aligned columns for a terminal, with a rule above the means."""
    return ruled(_cells(table), table.num_means)


def to_markdown(table: Table) -> str:
    """A Markdown table, numbers to the right, means in bold."""
    return markdown_of(_cells(table), table.num_means)


def markdown_of(cells: Sequence[Sequence[str]], num_bold: int = 0) -> str:
    """A Markdown table of any cells: the first column to the left, the others to the right.

    Args:
        cells: A header, then rows; all of the same length.
        num_bold: How many of the last rows are set in bold.
    """
    header, *body = ([cell.replace("|", r"\|") for cell in row] for row in cells)
    for row in body[len(body) - num_bold :]:
        row[:] = [f"**{cell}**" for cell in row]
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))


def ruled(cells: Sequence[Sequence[str]], num_last: int = 0) -> str:
    """Aligned columns for a terminal: a rule below the header, and one above the last rows.

    Args:
        cells: A header, then rows; all of the same length.
        num_last: How many of the last rows stand apart.
    """
    header, *body = align_columns(cells)
    rule = "-" * len(header)
    first = len(body) - num_last
    apart = [rule, *body[first:]] if num_last else []
    return "\n".join([header, rule, *body[:first], *apart])


def to_csv(table: Table) -> str:
    """Comma-separated values with all digits; undefined is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["category", *table.metrics])
    for name, values in table.rows:
        writer.writerow([name, *("" if math.isnan(value) else repr(value) for value in values)])
    return buffer.getvalue()


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row, columns of one width: the first to the left, the others to the right.

    Args:
        rows: At least one; all of the same length.
    """
    widths = [max(display_width(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [_align(row, widths) for row in rows]


def _cells(table: Table) -> list[list[str]]:
    body = [[name, *(format_fraction(value) for value in values)] for name, values in table.rows]
    return [["category", *table.metrics], *body]


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    name = row[0] + " " * (widths[0] - display_width(row[0]))
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([name, *numbers])


def display_width(text: str) -> int:
    """Columns that a terminal needs: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
