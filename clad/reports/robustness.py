"""The table and the curves of a robustness test, and its files in a run directory."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clad.data.degrade import LEVELS, REENCODE
from clad.protocols.robustness import CLEAN, RobustnessRow
from clad.reports.files import write_atomically, write_json, write_text
from clad.reports.tables import align_columns, format_fraction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JSON, CSV, FIGURE = "robustness.json", "robustness.csv", "robustness.png"
COLUMNS = (
    "image_auroc",
    "image_ap",
    "image_eer",
    "image_accuracy",
    "video_auroc",
    "video_eer",
    "pixel_auroc",
)
"""Columns of the table, where they were taken; ``robustness.json`` has every metric."""

UNITS = {
    "jpeg": "JPEG quality",
    "blur": "Gaussian blur, sigma in pixels",
    "noise": "Gaussian noise, sigma in grey levels",
    "resize": "shrunk to this share and back",
    "reencode": "encoded again",
}
_PANEL_INCHES = (3.1, 2.7)


def columns_of(rows: Sequence[RobustnessRow]) -> list[str]:
    """Those of ``COLUMNS`` that have a value somewhere; image AUROC always."""
    first, *others = COLUMNS
    return [
        first,
        *(name for name in others if any(not math.isnan(row.value(name)) for row in rows)),
    ]


def to_text(rows: Sequence[RobustnessRow]) -> str:
    """Aligned columns for a terminal; a rule under the header, the clean row, and each kind."""
    names = columns_of(rows)
    cells = [["images", *names]]
    cells += [[row.name, *(format_fraction(row.value(name)) for name in names)] for row in rows]
    header, *lines = align_columns(cells)
    rule = "-" * len(header)
    shown = [header]
    for _, group in groupby(zip(rows, lines, strict=True), key=lambda pair: _kind(pair[0])):
        shown += [rule, *(line for _, line in group)]
    return "\n".join(shown)


def write_robustness(folder: Path, rows: Sequence[RobustnessRow], facts: Mapping[str, Any]) -> Path:
    """Write ``robustness.json``, ``robustness.csv`` and ``robustness.png``.

    Args:
        folder: Created if missing.
        rows: The clean one first.
        facts: Goes into the JSON as it is: command, seed, number of images.

    Returns:
        Path of the figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = [
        {
            "name": row.name,
            "kind": _kind(row),
            "level": None if row.degradation is None else row.degradation.level,
            "mean": {name: None if math.isnan(v) else v for name, v in row.mean.items()},
            "undefined": list(row.undefined),
            "seconds": row.seconds,
        }
        for row in rows
    ]
    write_json(folder / JSON, {**facts, "rows": stored})
    write_text(folder / CSV, _csv(rows))
    figure = draw(rows)
    path = folder / FIGURE
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=150))
    return path


def draw(rows: Sequence[RobustnessRow], metric: str = "image_auroc") -> Figure:
    """One panel per kind, weak to strong; the clean value is the first point and a grey line."""
    from matplotlib.figure import Figure

    clean = rows[0].value(metric)
    kinds = [kind for kind in LEVELS if any(_kind(row) == kind for row in rows)]
    width, height = _PANEL_INCHES
    figure = Figure((width * max(1, len(kinds)), height), layout="constrained")
    panels = figure.subplots(1, max(1, len(kinds)), sharey=True, squeeze=False)[0]
    for panel, kind in zip(panels, kinds, strict=False):
        own = [row for row in rows if _kind(row) == kind]
        values = [clean, *(row.value(metric) for row in own)]
        panel.axhline(clean, color="0.75", linewidth=1, zorder=0)
        line = "none" if kind == REENCODE else "-"
        panel.plot(range(len(values)), values, marker="o", markersize=4, linestyle=line)
        labels = [row.name.removeprefix(f"{kind} ").replace(" ", "\n") for row in own]
        panel.set_xticks(range(len(values)), [CLEAN, *labels], fontsize=7)
        panel.set_xlabel(UNITS[kind], fontsize=8)
        panel.tick_params(axis="y", labelsize=8)
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel(metric.replace("_", " ").replace("auroc", "AUROC"), fontsize=8)
    return figure


def _kind(row: RobustnessRow) -> str:
    return CLEAN if row.degradation is None else row.degradation.kind


def _csv(rows: Sequence[RobustnessRow]) -> str:
    names = columns_of(rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["images", *names])
    for row in rows:
        values = [row.value(name) for name in names]
        writer.writerow([row.name, *("" if math.isnan(v) else repr(v) for v in values)])
    return buffer.getvalue()
