"""Reading CSV tables that lie beside images: every complaint names file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath


class Row:
    """One line of a table; its getters name file, line and column of what they refuse.

    Args:
        table: File that it comes from.
        line: Number of the line, the header being 1.
        cells: Text by column.
    """

    def __init__(self, table: Path, line: int, cells: dict[str, str]) -> None:
        self.table = table
        self.line = line
        self.cells = cells

    def text(self, column: str) -> str:
        """The cell, not empty."""
        value = self.cells[column]
        if not value:
            raise self.refuse(column, "a value", value)
        return value

    def path(self, column: str) -> str:
        """A relative path with forward slashes that stays in its folder."""
        value = self.cells[column]
        name = PurePosixPath(value)
        if not value or name.is_absolute() or ".." in name.parts or "\\" in value:
            raise self.refuse(column, "a relative path with forward slashes and no `..`", value)
        return name.as_posix()

    def whole(self, column: str, low: int = 0) -> int:
        """A whole number of at least ``low``."""
        value = self.cells[column]
        if not value.isdecimal() or int(value) < low:
            raise self.refuse(column, f"a whole number of at least {low}", value)
        return int(value)

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in [low, high]."""
        value = self.cells[column]
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and low <= number <= high):
            bounds = "" if math.isinf(low) else f" in [{low:g}, {high:g}]"
            raise self.refuse(column, f"a number{bounds}", value)
        return number

    def flag(self, column: str) -> bool:
        """0 or 1 as False or True."""
        value = self.cells[column]
        if value not in ("0", "1"):
            raise self.refuse(column, "0 or 1", value)
        return value == "1"

    def refuse(self, column: str, wanted: str, value: str) -> ValueError:
        """What to raise for a cell that is not as wanted."""
        return ValueError(
            f"expected {wanted} in column {column}, line {self.line} of {self.table}, got "
            f"{value!r}; correct the cell"
        )


def read_rows(table: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a comma-separated table with a header; blank lines are left out.

    Args:
        table: UTF-8 file.
        columns: Those that must be there; others may be, too.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column is missing or named twice, or a line has too few or too many cells.
    """
    if not table.is_file():
        raise FileNotFoundError(f"expected the table {table}, found none; check the path")
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if name not in header]
        if missing or len(set(header)) < len(header):
            raise ValueError(
                f"expected columns {','.join(columns)} in line 1 of {table}, got "
                f"{','.join(header) or 'nothing'}; correct the header"
            )
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"expected {len(header)} cells in line {reader.line_num} of {table}, got "
                    f"{len(cells)}; correct the line"
                )
            values = (cell.strip() for cell in cells)
            yield Row(table, reader.line_num, dict(zip(header, values, strict=True)))


def header_of(table: Path) -> list[str]:
    """Names of the columns; empty for an empty file.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not table.is_file():
        raise FileNotFoundError(f"expected the table {table}, found none; check the path")
    with table.open(encoding="utf-8-sig", newline="") as file:
        return [name.strip() for name in next(csv.reader(file), [])]
