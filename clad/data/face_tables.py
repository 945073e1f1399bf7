"""What the tables beside face images say of them: crops, landmarks, people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from clad.faces.index import (
    INDEX_NAME,
    LANDMARKS_NAME,
    FaceRow,
    Points,
    read_index,
    read_landmarks,
)
from clad.faces.tables import read_rows

PEOPLE_NAME = "people.csv"
NUM_LANDMARKS = 68


@dataclass(frozen=True)
class FaceTables:
    """Tables in the root of a data set, by image; empty where there is no such file.

    Args:
        root: Folder that the paths in the tables are relative to.
        faces: Rows of ``faces.csv``, as ``clad faces`` writes it.
        landmarks: (68, 2) float32 of ``landmarks.csv``; tables of 5 points are left out.
        people: Who is in the image, of ``people.csv`` (image,person).
        notes: What was found, in sentences.
    """

    root: Path
    faces: Mapping[str, FaceRow] = field(default_factory=dict)
    landmarks: Mapping[str, Points] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def row(self, path: Path) -> FaceRow | None:
        """Where the image was cut from; None if ``faces.csv`` does not name it."""
        return self.faces.get(self.name(path)) if self.faces else None

    def points(self, path: Path) -> Points | None:
        """(68, 2) float32 landmarks of the image, None where unknown."""
        return self.landmarks.get(self.name(path)) if self.landmarks else None

    def person(self, path: Path) -> str | None:
        """Who is in the image, None where unknown."""
        return self.people.get(self.name(path)) if self.people else None

    def place(self, path: Path) -> PurePosixPath:
        """Path that tells label and split: of the photo or video that it was cut from, or its own.

        A video has no suffix and so reads as the folder of its frames.
        """
        row = self.row(path)
        if row is None:
            return PurePosixPath(self.name(path))
        source = PurePosixPath(row.source)
        return source.with_suffix("") / f"{row.frame:06d}.png" if row.video else source

    def name(self, path: Path) -> str:
        """Path relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()


def read_tables(root: Path) -> FaceTables:
    """The tables that are there.

    Raises:
        ValueError: If a cell is wrong; with file, line and column.
    """
    notes = []
    faces, landmarks = root / INDEX_NAME, root / LANDMARKS_NAME
    rows = read_index(faces) if faces.is_file() else ()
    points = read_landmarks(landmarks) if landmarks.is_file() else {}
    if points and len(next(iter(points.values()))) != NUM_LANDMARKS:
        notes.append(
            f"{LANDMARKS_NAME} has 5 points per face; samples carry {NUM_LANDMARKS} or none"
        )
        points = {}
    people = root / PEOPLE_NAME
    persons = read_people(people) if people.is_file() else {}
    return FaceTables(root, {row.image: row for row in rows}, points, persons, tuple(notes))


def read_people(path: Path) -> dict[str, str]:
    """Person by image, of a table ``image,person``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a cell is wrong or an image has two people.
    """
    found: dict[str, str] = {}
    for row in read_rows(path, ("image", "person")):
        image, person = row.path("image"), row.text("person")
        if found.setdefault(image, person) != person:
            raise row.refuse("person", f"{found[image]}, as in a line above", person)
    return found
