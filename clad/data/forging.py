"""A folder of real faces -> a data set of real and forged ones, with masks, split by person.

What is written below the output folder::

    train/real/person_000_00.png                  and validation/, test/
    train/fake/self_blended/person_000_00.png     one folder per method
    train/mask/self_blended/person_000_00.png     255 where forged
    landmarks.csv                                 of the real files
    people.csv                                    image,person of real and forged files
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from clad.checks import expect_choice, expect_folder, expect_range
from clad.data.donors import DonorPool, scaled
from clad.data.files import list_images
from clad.data.images import ImageArray, MaskArray, decode_image, resize_image
from clad.data.splits import partition
from clad.data.synthesising import forge
from clad.faces.index import LANDMARKS_NAME, read_landmarks, write_landmarks
from clad.samples import Role, Sample
from clad.synthesis.base import FaceSynthesizer, Points

ROLES: tuple[Role, ...] = ("train", "validation", "test")
FRACTIONS = (0.6, 0.2, 0.2)
"""Share of the people in each role."""
PEOPLE_NAME = "people.csv"
REAL, FAKE, MASK = "real", "fake", "mask"

MIN_SIZE_PX = 32
_NUM_POINTS = 68
_MAX_CROP = 8
"""Largest side of a crop, in longer sides of its image; more means landmarks of something else."""


@dataclass(frozen=True)
class ForgePlan:
    """What is forged from what, and where it goes.

    Args:
        source: Folder with ``landmarks.csv`` (68 points) and one folder of images per person.
        output: Folder to write; missing or empty.
        per_image: Forged images per real one and method.
        seed: Decides roles, donors and every forgery.
        size: Sides of the written images in pixels.
        crop: Side of the square cut around each face, in longer sides of the box of its landmarks;
            0 takes whole images.
        roles: Which roles are written; who is in them does not depend on it.
    """

    source: Path
    output: Path
    per_image: int = 1
    seed: int = 42
    size: int = 256
    crop: float = 1.3
    roles: tuple[str, ...] = ROLES

    def __post_init__(self) -> None:
        """Check the numbers."""
        expect_range("per_image", self.per_image, 1, 1000)
        expect_range("seed", self.seed, 0, 2**32)
        expect_range("size", self.size, MIN_SIZE_PX, 4096)
        if self.crop != 0:
            expect_range("crop", self.crop, 1, 4)
        for role in self.roles:
            expect_choice("roles", role, ROLES)


@dataclass(frozen=True)
class Written:
    """How many images of one kind were written.

    Args:
        role: Train, validation or test.
        method: Name of the generator, or ``real``.
        num_images: That many.
        num_people: Of so many people.
        refused: Sentences about faces that the generator could not forge.
    """

    role: str
    method: str
    num_images: int
    num_people: int
    refused: tuple[str, ...] = ()


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


def forge_folder(plan: ForgePlan, generators: Mapping[str, FaceSynthesizer]) -> Iterator[Written]:
    """Write the data set; yields what was written, role by role, as soon as it is.

    Generators are made bare, because real files are photos that nothing was done to. Donors are of
    the same role. Each forgery depends on seed, method, image and number only.

    Args:
        plan: What and where.
        generators: By name of the method.

    Raises:
        FileNotFoundError: If something of the source is missing.
        ValueError: If the source is not as expected, the output folder is not empty, or a method
            can forge none of a role's faces.
    """
    samples, _ = list_faces(plan.source)
    _expect_empty(plan.output)
    stems = dict(
        zip((s.image_path for s in samples), file_stems(samples, plan.source), strict=True)
    )
    landmarks: dict[str, Any] = {}
    people: list[tuple[str, str]] = []
    for role, stored in split_people(samples, plan.seed).items():
        if role not in plan.roles or not stored:
            continue
        real = []
        for sample in stored:
            name = f"{role}/{REAL}/{stems[sample.image_path]}.png"
            real.append(_write_real(sample, plan, plan.output / name))
            landmarks[name] = np.round(np.float64(real[-1].landmarks), 2)
            people.append((name, str(sample.group)))
        yield Written(role, REAL, len(real), _num_people(real))
        for method, generator in generators.items():
            made, refused = _forge_role(plan, role, method, generator.bare(), real)
            people += made
            num_people = len({person for _, person in made})
            yield Written(role, method, len(made), num_people, tuple(refused))
    write_landmarks(plan.output / LANDMARKS_NAME, landmarks)
    _write_people(plan.output / PEOPLE_NAME, people)


def _forge_role(
    plan: ForgePlan,
    role: str,
    method: str,
    generator: FaceSynthesizer,
    real: Sequence[Sample],
) -> tuple[list[tuple[str, str]], list[str]]:
    """(image, person) of what was written, and sentences about faces that were refused."""
    donors = DonorPool(real, lambda sample: decode_image(sample.image_path))
    made: list[tuple[str, str]] = []
    refused: list[str] = []
    for sample in real:
        stem, image = sample.image_path.stem, decode_image(sample.image_path)
        for number in range(1, plan.per_image + 1):
            key = zlib.crc32(method.encode()), zlib.crc32(stem.encode())
            rng = np.random.default_rng((plan.seed, *key, number))
            try:
                forgery = forge(generator, sample, image, donors, rng)
            except ValueError as error:
                refused.append(str(error))
                continue
            if not np.array_equal(forgery.real, image):
                raise ValueError(
                    f"expected {type(generator).__name__}.bare() to leave the real image as it is, "
                    f"got another one for {sample.image_path}; correct the generator"
                )
            suffix = "" if number == 1 else f"_{number}"
            name = f"{method}/{stem}{suffix}.png"
            write_png(forgery.image, plan.output / role / FAKE / name)
            write_png(forgery.mask, plan.output / role / MASK / name)
            made.append((f"{role}/{FAKE}/{name}", str(sample.group)))
    if not made:
        raise ValueError(f"expected forged faces of {role} by {method}, got none: {refused[0]}")
    return made, refused


def write_png(array: ImageArray | MaskArray, path: Path) -> None:
    """Write an image, or a mask as 0 and 255, and the folders above it; all with one encoder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = array.astype(np.uint8) * 255 if array.dtype == bool else array
    Image.fromarray(pixels).save(path, compress_level=3)


def _write_real(sample: Sample, plan: ForgePlan, path: Path) -> Sample:
    """The sample of the cropped face that was written."""
    assert sample.landmarks is not None
    try:
        image, landmarks = crop_face(
            decode_image(sample.image_path), sample.landmarks, plan.crop, plan.size
        )
    except ValueError as error:
        raise ValueError(f"{error} ({sample.image_path})") from error
    write_png(image, path)
    return replace(sample, image_path=path, landmarks=landmarks)


def _cut(image: ImageArray, top: int, left: int, side: int) -> ImageArray:
    """(side, side, 3), mirrored beyond the image."""
    bottom, right = top + side - image.shape[0], left + side - image.shape[1]
    spare = ((max(-top, 0), max(bottom, 0)), (max(-left, 0), max(right, 0)), (0, 0))
    wide = np.pad(image, spare, mode="reflect")
    top, left = max(top, 0), max(left, 0)
    return np.ascontiguousarray(wide[top : top + side, left : left + side])


def _expect_empty(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        what = "a folder with something in it" if output.is_dir() else "a file"
        raise ValueError(
            f"expected a new or empty output folder, got {what} at {output}; name another one, or "
            "remove it: nothing is resumed"
        )


def _num_people(samples: Sequence[Sample]) -> int:
    return len({sample.group for sample in samples})


def _write_people(path: Path, people: Sequence[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "person"))
        writer.writerows(people)
