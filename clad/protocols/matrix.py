"""Cross-manipulation: how well a model that learned one kind of forgery finds the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.metrics.functional.auroc import auroc


@dataclass(frozen=True)
class MatrixRow:
    """AUROC of one model, by kind of forgery in the test.

    Args:
        name: What it learned: a kind, or the name of another way of training.
        values: One per column; NaN where undefined.
        folder: Its run directory, beside the table's files.
        seconds: Wall-clock time of training and test.
    """

    name: str
    values: tuple[float, ...]
    folder: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Matrix:
    """Rows: what was learned; columns: what was tested.

    Args:
        kinds: Columns.
        rows: In the order of the table.
    """

    kinds: tuple[str, ...]
    rows: tuple[MatrixRow, ...]

    def unseen(self, row: MatrixRow) -> float:
        """Mean over the kinds that a row did not learn; NaN if none has a value."""
        return _mean([v for k, v in zip(self.kinds, row.values, strict=True) if k != row.name])

    @property
    def mean_seen(self) -> float:
        """Mean of the diagonal."""
        return _mean(
            [v for r in self.rows for k, v in zip(self.kinds, r.values, strict=True) if k == r.name]
        )

    @property
    def mean_unseen(self) -> float:
        """Mean off the diagonal, over the rows that learned a kind of the columns."""
        own = [row for row in self.rows if row.name in self.kinds]
        return _mean(
            [v for r in own for k, v in zip(self.kinds, r.values, strict=True) if k != r.name]
        )


def auroc_by_kind(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    kinds: Sequence[str],
    categories: Sequence[str],
    wanted: Sequence[str],
) -> tuple[float, ...]:
    """AUROC of each kind's forgeries against the real images of the categories it occurs in.

    Args:
        scores: (N,) raw.
        labels: (N,) 1 forged, 0 real.
        kinds: N kinds of forgery.
        categories: N categories.
        wanted: Kinds to take it of.

    Returns:
        One per wanted kind; NaN where there is no forgery of it, or no real image.
    """
    of_image, category = np.asarray(kinds), np.asarray(categories)
    is_forged = np.asarray(labels) == 1
    found = []
    for kind in wanted:
        forged = is_forged & (of_image == kind)
        rows = forged | (~is_forged & np.isin(category, category[forged]))
        found.append(auroc(scores[rows], labels[rows]))
    return tuple(found)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan
