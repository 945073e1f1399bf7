"""The table of an ablation: one row per variant of a recipe."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clad.reports.files import write_json, write_text
from clad.reports.tables import align_columns, format_fraction

COLUMNS = ("image_auroc", "pixel_auroc", "pixel_aupro")
JSON, CSV = "ablation.json", "ablation.csv"


@dataclass(frozen=True)
class AblationRow:
    """What came of one variant.

    Args:
        name: As the table shows it.
        folder: Its run directory, beside the table's files.
        mean: Metric name -> mean over categories (and seeds); NaN where undefined.
        seconds: Wall-clock time of training and test, of all seeds.
        num_learning: Number of weights that learned.
        std: Metric name -> sample standard deviation over seeds; empty for one training.
        seeds: Of the trainings; empty where the recipe's seed was used.
    """

    name: str
    folder: str
    mean: Mapping[str, float]
    seconds: float
    num_learning: int
    std: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()


def to_text(rows: Sequence[AblationRow]) -> str:
    """Aligned columns for a terminal, with a rule under the header."""
    cells = [
        ["variant", *COLUMNS, "seconds", "weights that learn"],
        *(
            [
                row.name,
                *(_cell(row, name) for name in COLUMNS),
                f"{row.seconds:.0f}",
                f"{row.num_learning:,}",
            ]
            for row in rows
        ),
    ]
    header, *body = align_columns(cells)
    return "\n".join([header, "-" * len(header), *body])


def _cell(row: AblationRow, name: str) -> str:
    std = row.std.get(name, math.nan)
    text = format_fraction(row.mean[name])
    return text if math.isnan(std) else f"{text} ± {std:.3f}"


def write_ablation(folder: Path, recipe: str, command: str, rows: Sequence[AblationRow]) -> None:
    """Write ``ablation.json`` (every metric) and ``ablation.csv`` (the table, all digits).

    Args:
        folder: Holds the variants' run directories.
        recipe: What all variants share.
        command: As typed.
        rows: In the order of the table.
    """
    variants = [
        {
            "name": row.name,
            "folder": row.folder,
            "mean": _without_nan(row.mean),
            **({"std": _without_nan(row.std), "seeds": list(row.seeds)} if row.seeds else {}),
            "seconds": row.seconds,
            "num_learning": row.num_learning,
        }
        for row in rows
    ]
    write_json(folder / JSON, {"recipe": recipe, "command": command, "variants": variants})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    spread = [f"{name}_std" for name in COLUMNS] if any(row.seeds for row in rows) else []
    writer.writerow(["variant", *COLUMNS, *spread, "seconds", "num_learning"])
    for row in rows:
        values = [row.mean[name] for name in COLUMNS]
        values += [row.std.get(name, math.nan) for name in COLUMNS] if spread else []
        shown = ["" if math.isnan(value) else repr(value) for value in values]
        writer.writerow([row.name, *shown, repr(row.seconds), row.num_learning])
    write_text(folder / CSV, buffer.getvalue())


def _without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}
