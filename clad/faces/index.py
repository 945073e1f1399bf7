"""The index of a folder of face crops: where each was cut from, and its landmarks.

``clad faces ROOT --output DIR`` mirrors ROOT: of a photo or video ``a/b.mp4`` it writes
``a/b/000012_0.png`` (frame 12, face 0), and into DIR the tables ``faces.csv`` and
``landmarks.csv``. Sources of faces read them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from clad.faces.tables import Row, header_of, read_rows
from clad.samples import Origin

Points = NDArray[np.float32]

INDEX_NAME = "faces.csv"
LANDMARKS_NAME = "landmarks.csv"
NUM_POINTS = (5, 68)


@dataclass(frozen=True)
class FaceRow:
    """One crop: a line of ``faces.csv``, whose columns these are.

    Args:
        image: Crop, relative to the folder of the table, with forward slashes.
        source: Photo or video that it was cut from, relative to the folder that was read.
        video: Whether ``source`` is a video.
        frame: Number of the frame, counted from 0 as stored; 0 for a photo.
        face: Number of the face in its frame, from 0, the largest first.
        top: First row of the box in pixels of the frame; may be negative.
        left: First column.
        bottom: Row after the last; may lie beyond the frame.
        right: Column after the last.
        width: Of the frame, in pixels.
        height: Of the frame.
        confidence: Of the detector, in [0, 1]; 0 where no face was found.
        has_face: False where no face was found and the whole frame stands in for one.
    """

    image: str
    source: str
    video: bool
    frame: int
    face: int
    top: float
    left: float
    bottom: float
    right: float
    width: int
    height: int
    confidence: float = 1.0
    has_face: bool = True

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(top, left, bottom, right), as in ``clad.faces.base.DetectedFace``."""
        return self.top, self.left, self.bottom, self.right

    @property
    def origin(self) -> Origin:
        """Frame and video, as metrics join scores by them."""
        return origin_of(self.source, self.frame if self.video else None, self.has_face)


_COLUMNS = tuple(field.name for field in fields(FaceRow))


def origin_of(source: str, frame: int | None, has_face: bool = True) -> Origin:
    """Origin of a crop: ``source`` is a video if there is a number of a frame, else a photo.

    Args:
        source: Photo or video, relative to the folder of the data.
        frame: Number of the frame of a video, None for a photo.
        has_face: False where no face was found.
    """
    if frame is None:
        return Origin(source, None, has_face)
    return Origin(f"{source}#{frame:06d}", source, has_face)


def crop_name(source: str, frame: int, face: int) -> str:
    """Where the crop of a face goes: ``a/b.mp4``, 12, 0 -> ``a/b/000012_0.png``."""
    return f"{PurePosixPath(source).with_suffix('').as_posix()}/{frame:06d}_{face}.png"


def write_index(path: Path, rows: Iterable[FaceRow]) -> None:
    """Write ``faces.csv`` in the order of ``rows``.

    Raises:
        ValueError: If two rows name the same image, e.g. of ``a.jpg`` and ``a.mp4``.
    """
    rows = list(rows)
    first: dict[str, FaceRow] = {}
    for row in rows:
        other = first.setdefault(row.image, row)
        if other is not row:
            raise ValueError(
                f"expected one face per crop, got {other.source} and {row.source} for {row.image}; "
                "rename one of them"
            )
    table = [[_cell(getattr(row, name)) for name in _COLUMNS] for row in rows]
    _write(path, _COLUMNS, table)


def read_index(path: Path) -> tuple[FaceRow, ...]:
    """Rows of a ``faces.csv`` in their order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column is missing, a cell is wrong or an image comes twice; with file, line
            and column.
    """
    rows = []
    seen: dict[str, int] = {}
    for row in read_rows(path, _COLUMNS):
        found = _face_row(row)
        _expect_new(seen, row, found.image)
        rows.append(found)
    return tuple(rows)


def write_landmarks(path: Path, landmarks: Mapping[str, Points]) -> None:
    """Write ``landmarks.csv``: image,x0,y0,x1,y1 and so on, in the order of the mapping.

    Args:
        path: File to write.
        landmarks: (5, 2) or (68, 2) x, y in pixels of the crop by its relative path; all of one
            kind.

    Raises:
        ValueError: If one has another shape, or they are of both kinds.
    """
    shapes = {points.shape for points in landmarks.values()}
    if not shapes <= {(number, 2) for number in NUM_POINTS} or len(shapes) > 1:
        shown = ", ".join(map(str, sorted(shapes)))
        raise ValueError(
            f"expected landmarks of shape (5, 2) or of shape (68, 2) for all faces, got {shown}; "
            "write one kind"
        )
    number = next(iter(shapes), (NUM_POINTS[0], 2))[0]
    table = [
        [image, *(_cell(float(value)) for value in points.ravel())]
        for image, points in landmarks.items()
    ]
    _write(path, ("image", *_point_columns(number)), table)


def read_landmarks(path: Path) -> dict[str, Points]:
    """(5, 2) or (68, 2) float32 x, y in pixels of the image, by its path relative to the table.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header is another one, a cell is no number or an image comes twice; with
            file, line and column.
    """
    header = header_of(path)
    number = (len(header) - 1) // 2
    wanted = ["image", *_point_columns(number)]
    if number not in NUM_POINTS or header != wanted:
        raise ValueError(
            f"expected columns image,x0,y0,x1,y1,... of 5 or 68 points in line 1 of {path}, got "
            f"{len(header)} columns {','.join(header[:4])},...; correct the header"
        )
    found: dict[str, Points] = {}
    seen: dict[str, int] = {}
    for row in read_rows(path, wanted):
        image = row.path("image")
        _expect_new(seen, row, image)
        values = [row.number(name) for name in wanted[1:]]
        found[image] = np.asarray(values, dtype=np.float32).reshape(number, 2)
    return found


def _face_row(row: Row) -> FaceRow:
    found = FaceRow(
        image=row.path("image"),
        source=row.path("source"),
        video=row.flag("video"),
        frame=row.whole("frame"),
        face=row.whole("face"),
        top=row.number("top"),
        left=row.number("left"),
        bottom=row.number("bottom"),
        right=row.number("right"),
        width=row.whole("width", low=1),
        height=row.whole("height", low=1),
        confidence=row.number("confidence", 0, 1),
        has_face=row.flag("has_face"),
    )
    for low, high in (("top", "bottom"), ("left", "right")):
        if not getattr(found, low) < getattr(found, high):
            raise row.refuse(high, f"more than {low} = {row.cells[low]}", row.cells[high])
    return found


def _expect_new(seen: dict[str, int], row: Row, image: str) -> None:
    first = seen.setdefault(image, row.line)
    if first != row.line:
        raise row.refuse("image", f"an image that line {first} does not name", image)


def _point_columns(number: int) -> list[str]:
    return [f"{axis}{i}" for i in range(number) for axis in "xy"]


def _cell(value: str | bool | int | float) -> str:
    """Text that reads back as the same value, whole numbers without a point."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return str(int(value))
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _write(path: Path, header: Iterable[str], table: Iterable[Iterable[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(table)
