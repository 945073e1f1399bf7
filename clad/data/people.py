"""A folder of real faces, one folder per person: listing, splitting by person, cropping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from clad.checks import expect_folder
from clad.data.donors import scaled
from clad.data.files import list_images
from clad.data.images import ImageArray, resize_image
from clad.data.splits import partition
from clad.faces.index import LANDMARKS_NAME, read_landmarks
from clad.samples import Role, Sample
from clad.synthesis.base import Points

ROLES: tuple[Role, ...] = ("train", "validation", "test")
FRACTIONS = (0.6, 0.2, 0.2)
"""Share of the people in each role."""
_NUM_POINTS = 68
_MAX_CROP = 8
"""Largest side of a crop, in longer sides of its image; more means landmarks of something else."""


def list_faces(source: Path) -> tuple[tuple[Sample, ...], int]:
    """Real faces with landmarks, sorted by path, and how many images have no landmarks.

    Raises:
        FileNotFoundError: If the folder, its table or an image that the table names is missing.
        ValueError: If the landmarks are not 68 points, there are none, or an image lies in no
            person's folder.
    """
    folder = expect_folder("SOURCE", source, "it holds landmarks.csv and a folder per person")
    table = folder / LANDMARKS_NAME
    landmarks = read_landmarks(table)
    samples = []
    for name, points in sorted(landmarks.items()):
        path, parts = folder / name, PurePosixPath(name).parts
        if len(parts) < 2:
            raise ValueError(
                f"expected every image in the folder of its person, got {name} in {table}; "
                "move it into one, e.g. person_000/00.jpg"
            )
        if not path.is_file():
            raise FileNotFoundError(
                f"expected the images that {table} names, found no {path}; correct the table"
            )
        if len(points) != _NUM_POINTS:
            raise ValueError(
                f"expected {_NUM_POINTS} landmarks per face in {table}, got {len(points)}; "
                "use a landmark detector of the 68-point scheme"
            )
        samples.append(Sample(path, 0, "face", group=parts[0], domain="face", landmarks=points))
    if not samples:
        raise ValueError(f"expected faces in {table}, got none; fill the table")
    others = set(list_images(folder, nested=True)) - {sample.image_path for sample in samples}
    return tuple(samples), len(others)


def split_people(samples: Sequence[Sample], seed: int) -> dict[str, tuple[Sample, ...]]:
    """Faces by role; all faces of a person are in one role."""
    return dict(zip(ROLES, partition(samples, FRACTIONS, seed), strict=True))


def few_per_person(samples: Sequence[Sample], most: int | None) -> tuple[Sample, ...]:
    """At most so many faces of each person, evenly spaced in their order; None keeps all."""
    if most is None:
        return tuple(samples)
    by_person: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        by_person.setdefault(str(sample.group), []).append(row)
    kept = {
        rows[place]
        for rows in by_person.values()
        for place in np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    }
    return tuple(samples[row] for row in sorted(kept))


def file_stems(samples: Sequence[Sample], source: Path) -> list[str]:
    """PERSON_FRAME of each image: ``person_000/a/00.jpg`` -> ``person_000_a_00``.

    Raises:
        ValueError: If two images would get the same name.
    """
    first: dict[str, Path] = {}
    stems = []
    for sample in samples:
        stem = "_".join(sample.image_path.relative_to(source).with_suffix("").parts)
        other = first.setdefault(stem, sample.image_path)
        if other != sample.image_path:
            raise ValueError(
                f"expected images with names of their own, got {other} and {sample.image_path}, "
                f"both of which become {stem}.png; rename one of them"
            )
        stems.append(stem)
    return stems


def crop_face(
    image: ImageArray, landmarks: Points, crop: float, size: int
) -> tuple[ImageArray, Points]:
    """A square around the face, and its landmarks there.

    The square has the middle of the landmarks' box; beyond the image, pixels are mirrored.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (68, 2) x, y in pixels.
        crop: Side of the square in longer sides of the box; 0 takes the whole image, which then
            loses its aspect.
        size: Sides of the result in pixels.

    Returns:
        (size, size, 3) uint8 and (68, 2) float32.

    Raises:
        ValueError: If the square is empty, or much larger than the image.
    """
    if crop == 0:
        square, corner = image, np.zeros(2)
    else:
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        side = round(float(crop * (high - low).max()))
        if not 1 <= side <= _MAX_CROP * max(image.shape[:2]):
            raise ValueError(
                f"expected landmarks of a face in an image of {image.shape[:2]}, got a box of "
                f"{high[0] - low[0]:.0f} x {high[1] - low[1]:.0f} px; correct them"
            )
        corner = np.rint((low + high + 1 - side) / 2)
        square = _cut(image, int(corner[1]), int(corner[0]), side)
    resized = resize_image(square, (size, size))
    moved = np.asarray(landmarks - corner, np.float32)
    return resized, scaled(moved, (square.shape[0], square.shape[1]), resized)


def _cut(image: ImageArray, top: int, left: int, side: int) -> ImageArray:
    """(side, side, 3), mirrored beyond the image."""
    bottom, right = top + side - image.shape[0], left + side - image.shape[1]
    spare = ((max(-top, 0), max(bottom, 0)), (max(-left, 0), max(right, 0)), (0, 0))
    wide = np.pad(image, spare, mode="reflect")
    top, left = max(top, 0), max(left, 0)
    return np.ascontiguousarray(wide[top : top + side, left : left + side])
