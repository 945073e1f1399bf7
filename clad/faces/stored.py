"""Boxes and landmarks that somebody else has found, read from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clad.faces.base import DetectedFace, FaceDetector, ImageArray
from clad.faces.boxes import largest_first
from clad.faces.index import NUM_POINTS
from clad.faces.tables import Row, header_of, read_rows

_IMAGE, _CONFIDENCE = "image", "confidence"
_BOX = ("top", "left", "bottom", "right")


class StoredFaces(FaceDetector):
    """Looks faces up by the path of the image.

    The table has one line per face: ``image,top,left,bottom,right``, then ``confidence`` and
    ``x0,y0,x1,y1`` and so on (5 or 68 points) where they are known; all in pixels of the upright
    image. A line with four empty cells of the box says that the image has no face. The image is
    relative to ``root``; a frame of a video is ``clip.mp4#000012``.

    Args:
        table: CSV file.
        root: Folder that the images are named from; None takes the folder of the table.
        allow_missing: Whether an image without a line has no face; else it is refused.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If a line is not as described.
    """

    def __init__(
        self, table: Path | None = None, root: Path | None = None, allow_missing: bool = False
    ) -> None:
        if table is None:
            raise FileNotFoundError(
                "expected a table of boxes, got no path; name it in detector.init_args.table, "
                "with the columns image,top,left,bottom,right"
            )
        self.table = table
        self.root = table.parent if root is None else root
        self.allow_missing = allow_missing
        self._faces = read_boxes(table)

    def detect(self, image: ImageArray, path: Path | None = None) -> tuple[DetectedFace, ...]:
        """All faces, largest box first; see ``FaceDetector.detect``.

        Raises:
            ValueError: If there is no path, or no line for it.
        """
        del image
        if path is None:
            raise ValueError(
                "expected the path of the image to look its faces up, got pixels alone; "
                "use a detector that looks at pixels (configs/faces/cascade.yaml)"
            )
        full, root = path.absolute(), self.root.absolute()
        if not full.is_relative_to(root):
            full, root = full.resolve(), root.resolve()
        name = full.relative_to(root).as_posix() if full.is_relative_to(root) else path.as_posix()
        if name not in self._faces and not self.allow_missing:
            raise ValueError(
                f"expected a line for {name} in {self.table}, found none; add one, with empty "
                "cells of the box if it has no face, or set allow_missing"
            )
        return largest_first(self._faces.get(name, ()))


def read_boxes(table: Path) -> dict[str, list[DetectedFace]]:
    """Faces by name of their image; an empty list where a line says that there is none.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If a line is not as ``StoredFaces`` describes.
    """
    header = header_of(table)
    has_confidence = _CONFIDENCE in header
    count = sum(name[:1] == "x" and name[1:].isdecimal() for name in header)
    if count not in (0, *NUM_POINTS):
        raise ValueError(
            f"expected landmarks x0,y0 and so on of 5 or 68 points in line 1 of {table}, got "
            f"{count} points; correct the header"
        )
    points = [f"{axis}{number}" for number in range(count) for axis in "xy"]
    columns = [_IMAGE, *_BOX, *([_CONFIDENCE] if has_confidence else []), *points]
    faces: dict[str, list[DetectedFace]] = {}
    for row in read_rows(table, columns):
        found = faces.setdefault(row.path(_IMAGE), [])
        if any(row.cells[name] for name in _BOX):
            found.append(_face(row, has_confidence, points))
    return faces


def _face(row: Row, has_confidence: bool, points: list[str]) -> DetectedFace:
    top, left, bottom, right = (row.number(name) for name in _BOX)
    for low, high, name in ((top, bottom, "bottom"), (left, right, "right")):
        if not low < high:
            raise row.refuse(name, f"more than {low:g}", row.cells[name])
    confidence = row.number(_CONFIDENCE, 0, 1) if has_confidence else 1.0
    landmarks = None
    if any(row.cells[name] for name in points):
        values = [row.number(name) for name in points]
        landmarks = np.array(values, dtype=np.float32).reshape(-1, 2)
    return DetectedFace((top, left, bottom, right), confidence, landmarks)
