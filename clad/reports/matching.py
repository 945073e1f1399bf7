"""The same test images in two runs, which may have been made in different folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from clad.reports.run_directory import PredictionTable, Run

Key = tuple[str, str]
_Keys = Callable[[Run], list[Key]]


class Matched(NamedTuple):
    """Test images of two runs.

    Args:
        first: (M,) int64 rows of the first run that the second has, too, in their order.
        second: (M,) int64 rows of the second run that show the same images.
        only_first: Number of images that the second run has not.
        only_second: Likewise the other way.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    only_first: int
    only_second: int

    @property
    def is_whole(self) -> bool:
        """Whether both runs were tested on the same images."""
        return not self.only_first and not self.only_second


def match_images(first: Run, second: Run) -> Matched:
    """Which rows are the same image: of one category, with one path as seen from a common folder.

    The folder is the one that most images agree on: none (whole paths), ``data.root`` of each run,
    the lowest that holds all its test images, or the lowest that holds those of a category.

    Raises:
        ValueError: If no image is in both, a file is listed twice, or labels differ.
    """
    best: Matched | None = None
    for keys_of in (_whole, _below_root, _below_common, _below_category):
        keys = [keys_of(run) for run in (first, second)]
        if any(len(set(each)) < len(each) for each in keys):
            continue
        found = _matched(*keys)
        if best is None or len(found.first) > len(best.first):
            best = found
        if best.is_whole:
            break
    if best is None:
        raise ValueError(
            f"expected each test image once in {first.path} and {second.path}, got some twice, so "
            "that they cannot be told apart; test on a set without copies"
        )
    if not len(best.first):
        raise ValueError(
            f"expected runs that were tested on the same images, got no image of {first.path} in "
            f"{second.path}; compare runs on one data set"
        )
    _expect_equal_labels(first, second, best)
    return best


def take_rows(table: PredictionTable, rows: NDArray[np.int64]) -> PredictionTable:
    """The table with some of its rows, in that order."""

    def picked(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[row] for row in rows) if values else ()

    return PredictionTable(
        paths=picked(table.paths),
        categories=picked(table.categories),
        defect_types=picked(table.defect_types),
        labels=table.labels[rows],
        scores=table.scores[rows],
        thresholds=table.thresholds[rows],
        parts={name: values[rows] for name, values in table.parts.items()},
        origins=picked(table.origins),
        groups=picked(table.groups),
    )


def setting(run: Run, group: str, name: str) -> object:
    """A value of the run's configuration; None where it or the file is missing."""
    content = None if run.config is None else yaml.safe_load(run.config)
    values = content.get(group) if isinstance(content, Mapping) else None
    return values.get(name) if isinstance(values, Mapping) else None


def _whole(run: Run) -> list[Key]:
    table = run.predictions
    return [(c, PurePath(p).as_posix()) for c, p in zip(table.categories, table.paths, strict=True)]


def _below_root(run: Run) -> list[Key]:
    root = setting(run, "data", "root")
    if not isinstance(root, str):
        return _whole(run)
    return _seen_from(run, lambda _: Path(root))


def _below_common(run: Run) -> list[Key]:
    folder = _common_folder(run.predictions.paths)
    return _seen_from(run, lambda _: folder)


def _below_category(run: Run) -> list[Key]:
    table = run.predictions
    folders = {
        name: _common_folder([table.paths[row] for row in table.rows_of(name)])
        for name in table.category_names
    }
    return _seen_from(run, folders.__getitem__)


def _seen_from(run: Run, folder_of: Callable[[str], Path]) -> list[Key]:
    """Category and path of each image, below the folder of its category."""
    table = run.predictions
    return [
        (category, PurePath(os.path.relpath(path, folder_of(category))).as_posix())
        for category, path in zip(table.categories, table.paths, strict=True)
    ]


def _common_folder(paths: Sequence[str]) -> Path:
    return Path(os.path.commonpath([Path(path).absolute().parent for path in paths]))


def _matched(first: Sequence[Key], second: Sequence[Key]) -> Matched:
    place_of = {key: row for row, key in enumerate(second)}
    pairs = [(row, place_of[key]) for row, key in enumerate(first) if key in place_of]
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Matched(rows[:, 0], rows[:, 1], len(first) - len(rows), len(second) - len(rows))


def _expect_equal_labels(first: Run, second: Run, matched: Matched) -> None:
    labels = first.predictions.labels[matched.first], second.predictions.labels[matched.second]
    wrong = matched.first[labels[0] != labels[1]]
    if len(wrong):
        raise ValueError(
            f"expected one label of each image in {first.path} and {second.path}, got two of "
            f"{len(wrong)}, such as {first.predictions.paths[wrong[0]]}; compare runs on one data "
            "set"
        )
