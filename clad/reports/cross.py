"""The cross-data-set table: one model, a row per data set that it was tested on."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clad.reports.files import write_json, write_text
from clad.reports.tables import align_columns, format_fraction

JSON, CSV = "cross.json", "cross.csv"
MEAN = "mean of others"
METRICS = ("auroc", "ap", "eer")
LEVELS = ("image", "frame", "video")


@dataclass(frozen=True)
class CrossRow:
    """What came of one data set.

    Args:
        name: As the table shows it.
        folder: Its run directory, beside the table's files.
        is_own: Whether the model learned from the training split of it.
        mean: Metric name -> mean over categories; NaN where undefined.
        num_real: Number of real images tested.
        num_fake: Number of fake images tested.
        num_videos: Number of videos they are of; 0 for photographs.
        num_frames: Number of frames of those videos.
        notes: How the source made its splits.
    """

    name: str
    folder: str
    is_own: bool
    mean: Mapping[str, float]
    num_real: int
    num_fake: int
    num_videos: int = 0
    num_frames: int = 0
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> str:
        """``40 real and 60 fake images, 10 videos, 10.0 frames per video``."""
        text = f"{self.num_real} real and {self.num_fake} fake images"
        if self.num_videos:
            per_video = self.num_frames / self.num_videos
            text += f", {self.num_videos} videos, {per_video:.1f} frames per video"
        return text

    def value(self, metric: str) -> float:
        """A metric; NaN where it was not taken."""
        return self.mean.get(metric, math.nan)


def columns_of(rows: Sequence[CrossRow]) -> list[str]:
    """AUROC, AP and EER of images, and of frames and videos where some row has them."""
    found = []
    for level in LEVELS:
        names = [f"{level}_{metric}" for metric in METRICS]
        if level == LEVELS[0] or any(name in row.mean for row in rows for name in names):
            found += names
    return found


def means_of(rows: Sequence[CrossRow], names: Sequence[str]) -> list[float]:
    """Mean of each metric over the data sets that were not learned from, where it has a value."""
    means = []
    for name in names:
        values = [row.value(name) for row in rows if not row.is_own]
        defined = [value for value in values if not math.isnan(value)]
        means.append(math.fsum(defined) / len(defined) if defined else math.nan)
    return means


def to_text(rows: Sequence[CrossRow]) -> str:
    """Aligned columns; the data set that was learned from first, means of the others last."""
    names = columns_of(rows)
    cells = [["tested on", *names]]
    for row in rows:
        shown = f"{row.name} (own test split)" if row.is_own else row.name
        cells.append([shown, *(format_fraction(row.value(name)) for name in names)])
    cells.append([MEAN, *(format_fraction(value) for value in means_of(rows, names))])
    header, *lines, mean = align_columns(cells)
    rule = "-" * len(header)
    return "\n".join([header, rule, *lines, rule, mean])


def write_cross(folder: Path, rows: Sequence[CrossRow], facts: Mapping[str, Any]) -> None:
    """Write ``cross.json`` (every metric) and ``cross.csv`` (the table, all digits).

    Args:
        folder: Holds the run directories.
        rows: In the order of the table.
        facts: Goes into the JSON as it is: recipe, command.
    """
    names = columns_of(rows)
    means = dict(zip(names, map(_or_none, means_of(rows, names)), strict=True))
    sets = [
        {
            **vars(row),
            "mean": {name: _or_none(value) for name, value in row.mean.items()},
            "notes": list(row.notes),
        }
        for row in rows
    ]
    write_json(folder / JSON, {**facts, "sets": sets, "mean_of_others": means})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["tested_on", "is_own", *names])
    for row in rows:
        values = [row.value(name) for name in names]
        shown = ["" if math.isnan(value) else repr(value) for value in values]
        writer.writerow([row.name, int(row.is_own), *shown])
    write_text(folder / CSV, buffer.getvalue())


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
