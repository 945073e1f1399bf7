"""The cross-manipulation matrix as text, JSON, and a heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clad.protocols.matrix import Matrix
from clad.reports.files import write_atomically, write_json, write_text
from clad.reports.markup import Markup, join, tag
from clad.reports.tables import align_columns, format_fraction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JSON, HTML, FIGURE = "matrix.json", "matrix.html", "matrix.png"
UNSEEN = "mean unseen"
_INCHES_PER_CELL, _MARGIN_INCHES = 0.85, 2.0
_STYLE = (
    "body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}"
    "td,th{padding:.4em .8em;text-align:right}th:first-child{text-align:left}"
    ".seen{outline:2px solid #333;outline-offset:-2px}"
)


def to_text(matrix: Matrix) -> str:
    """Aligned columns; cells of what was learned stand in square brackets, means come last."""
    cells = [["trained on", *matrix.kinds, UNSEEN]]
    for row in matrix.rows:
        shown = [
            f"[{format_fraction(value)}]" if kind == row.name else f"{format_fraction(value)} "
            for kind, value in zip(matrix.kinds, row.values, strict=True)
        ]
        cells.append([row.name, *shown, format_fraction(matrix.unseen(row))])
    header, *lines = align_columns(cells)
    rule = "-" * len(header)
    means = (
        f"mean of what was learned: {_shown(matrix.mean_seen)}",
        f"mean of what was not: {_shown(matrix.mean_unseen)}",
    )
    return "\n".join([header, rule, *lines, rule, *means])


def write_matrix(folder: Path, matrix: Matrix, facts: Mapping[str, Any]) -> None:
    """Write ``matrix.json``, ``matrix.html`` and ``matrix.png``.

    Args:
        folder: Holds the rows' run directories.
        matrix: What to write.
        facts: Goes into the JSON as it is: recipe, command.
    """
    rows = [
        {
            "trained_on": row.name,
            "folder": row.folder,
            "auroc": {
                kind: _or_none(value) for kind, value in zip(matrix.kinds, row.values, strict=True)
            },
            "mean_unseen": _or_none(matrix.unseen(row)),
            "seconds": row.seconds,
        }
        for row in matrix.rows
    ]
    means = {
        "mean_seen": _or_none(matrix.mean_seen),
        "mean_unseen": _or_none(matrix.mean_unseen),
    }
    figure = draw(matrix)
    write_atomically(folder / FIGURE, lambda temporary: figure.savefig(temporary, dpi=150))
    write_text(folder / HTML, to_html(matrix))
    write_json(folder / JSON, {**facts, "tested_on": list(matrix.kinds), "rows": rows, **means})


def draw(matrix: Matrix) -> Figure:
    """A heat map of AUROC from 0.5 to 1; what was learned has a frame."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    width = _MARGIN_INCHES + _INCHES_PER_CELL * len(matrix.kinds)
    height = _MARGIN_INCHES + _INCHES_PER_CELL * len(matrix.rows)
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    values = [row.values for row in matrix.rows]
    picture = axes.imshow(values, vmin=0.5, vmax=1, cmap="viridis")
    for y, row in enumerate(matrix.rows):
        for x, (kind, value) in enumerate(zip(matrix.kinds, row.values, strict=True)):
            colour = "black" if value > 0.8 else "0.4" if math.isnan(value) else "white"
            axes.text(x, y, _shown(value), ha="center", va="center", color=colour, fontsize=9)
            if kind == row.name:
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec="red", lw=2))
    axes.set_xticks(range(len(matrix.kinds)), matrix.kinds, rotation=30, ha="right")
    axes.set_yticks(range(len(matrix.rows)), [row.name for row in matrix.rows])
    axes.set_xlabel("tested on")
    axes.set_ylabel("trained on")
    figure.colorbar(picture, ax=axes, label="image AUROC")
    return figure


def to_html(matrix: Matrix) -> str:
    """A page with the table, coloured from 0.5 (white) to 1 (blue)."""
    head = tag("tr", *(tag("th", text) for text in ("trained on", *matrix.kinds, UNSEEN)))
    body = []
    for row in matrix.rows:
        cells = [
            _cell(value, kind == row.name)
            for kind, value in zip(matrix.kinds, row.values, strict=True)
        ]
        mean = tag("td", _shown(matrix.unseen(row)))
        body.append(tag("tr", tag("th", row.name), *cells, mean))
    means = (
        f"mean of what was learned {_shown(matrix.mean_seen)}, "
        f"of what was not {_shown(matrix.mean_unseen)}"
    )
    title = "Cross-manipulation matrix"
    page = tag(
        "html",
        tag("head", tag("title", title), tag("style", Markup(_STYLE))),
        tag("body", tag("h1", title), tag("p", "Image AUROC; framed: what was learned."),
            tag("table", head, join(*body)), tag("p", means)),
        lang="en",
    )  # fmt: skip
    return f"<!doctype html>\n{page}\n"


def _cell(value: float, is_seen: bool) -> Markup:
    share = 0.0 if math.isnan(value) else min(1.0, max(0.0, 2 * value - 1))
    style = f"background:rgba(70,130,220,{share:.2f})"
    return tag("td", _shown(value), style=style, class_="seen" if is_seen else None)


def _shown(value: float) -> str:
    return format_fraction(value)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
