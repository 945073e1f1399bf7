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
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clad.checks import expect_choice, expect_range
from clad.data.donors import DonorPool
from clad.data.images import ImageArray, MaskArray, decode_image
from clad.data.people import (
    ROLES,
    crop_face,
    few_per_person,
    file_stems,
    list_faces,
    split_people,
)
from clad.data.synthesising import forge
from clad.faces.index import LANDMARKS_NAME, write_landmarks
from clad.samples import Sample
from clad.synthesis.base import FaceSynthesizer

PEOPLE_NAME = "people.csv"
REAL, FAKE, MASK = "real", "fake", "mask"

MIN_SIZE_PX = 32


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
        per_person: Most images of one person, evenly spaced over what there is; None takes all.
    """

    source: Path
    output: Path
    per_image: int = 1
    seed: int = 42
    size: int = 256
    crop: float = 1.3
    roles: tuple[str, ...] = ROLES
    per_person: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        expect_range("per_image", self.per_image, 1, 1000)
        expect_range("seed", self.seed, 0, 2**32)
        expect_range("size", self.size, MIN_SIZE_PX, 4096)
        if self.crop != 0:
            expect_range("crop", self.crop, 1, 4)
        for role in self.roles:
            expect_choice("roles", role, ROLES)
        if self.per_person is not None:
            expect_range("per_person", self.per_person, 1, float("inf"))


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
        for sample in few_per_person(stored, plan.per_person):
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
