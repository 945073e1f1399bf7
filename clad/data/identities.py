"""Real faces by person, with landmarks: the material that forgeries are made of."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from clad.checks import expect_folder, expect_range
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.face_clips import CATEGORY, refuse_without_frames
from clad.data.face_tables import FaceTables, read_tables
from clad.data.files import list_images
from clad.data.folder_layout import TEST_NAMES, TRAIN_NAMES, VALIDATION_NAMES
from clad.data.overlap import expect_no_copies
from clad.data.splits import check_disjoint, partition
from clad.data.tiny import normal_texture, save
from clad.data.tiny_faces import plain_landmarks
from clad.faces.index import LANDMARKS_NAME, origin_of, write_landmarks
from clad.samples import Origin, Sample, Splits

_ROLES = {"train": TRAIN_NAMES, "validation": VALIDATION_NAMES, "test": TEST_NAMES}
_HINT = "it holds a folder of photographs per person, and landmarks.csv"


class Identities(DataSource):
    """Real faces only, a folder per person; a person is in one role only.

    Accepted::

        PERSON/00.jpg  landmarks.csv                        split by person with the seed
        train/PERSON/00.jpg  test/PERSON/00.jpg             roles as stored; nobody in two of them
        PERSON/VIDEO/00.jpg                                 the folder of frames is a video

    ``landmarks.csv`` (image,x0,y0,...,x67,y67, in pixels of the stored file) gives samples their 68
    landmarks, which forgeries are made with. Nothing is fake, so the test has one label: make
    forgeries of it, or train with ``data.synthesis`` and test on another data set.

    Args:
        validation_fraction: Share of the people held out for thresholds, [0, 0.9].
        test_fraction: Share of the people held out for test, [0, 0.9].
    """

    name: ClassVar[str] = "identities"
    domain: ClassVar[str] = "face"
    is_layout: ClassVar[bool] = True
    has_anomalies: ClassVar[bool] = False

    def __init__(self, validation_fraction: float = 0.1, test_fraction: float = 0.2) -> None:
        expect_range("validation_fraction", validation_fraction, 0, 0.9)
        expect_range("test_fraction", test_fraction, 0, 0.9)
        expect_range(
            "validation_fraction + test_fraction", validation_fraction + test_fraction, 0, 0.9
        )
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``."""
        folder = expect_folder("data.root", root, _HINT)
        tables = read_tables(folder)
        found = [_read(path, tables) for path in list_images(folder, nested=True)]
        if not found:
            raise refuse_without_frames(folder, folder)
        choose_categories([CATEGORY], categories)
        unsplit = tuple(sample for role, sample in found if not role)
        if unsplit and len(unsplit) < len(found):
            raise ValueError(
                f"expected every person of {folder} in train/, validation/ or test/, or none of "
                f"them, got both, e.g. {unsplit[0].image_path}; {_HINT}"
            )
        if unsplit:
            held = self.validation_fraction, self.test_fraction
            train, validation, test = partition(unsplit, (1 - sum(held), *held), seed)
        else:
            train, validation, test = (tuple(s for r, s in found if r == role) for role in _ROLES)
        splits = Splits(train, validation, test)
        check_disjoint(splits)
        pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
        for first, second in pairs:
            expect_no_copies(first, getattr(splits, first), second, getattr(splits, second))
        how = f"split by person with seed {seed}" if unsplit else "people as stored"
        notes = (
            f"{self.name}: {how}; real faces only; {', '.join(_counts(splits))}.",
            f"{self.name}: {_landmarks([s for _, s in found])}.",
            *(f"{self.name}: {note}." for note in tables.notes),
        )
        return Splits(train, validation, test, notes)

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 10 people with 2 photographs of 64 pixels each, and their landmarks."""
        rng = np.random.default_rng(seed)
        landmarks = {}
        for person in range(10):
            for i in range(2):
                name = f"person_{person}/{i:02d}.png"
                save(normal_texture(rng, kind=2), root / name)
                landmarks[name] = plain_landmarks(rng)
        write_landmarks(root / LANDMARKS_NAME, landmarks)


def _read(path: Path, tables: FaceTables) -> tuple[str, Sample]:
    """Stored role, empty where there is none, and sample.

    Raises:
        ValueError: If the image lies in no folder of a person.
    """
    row = tables.row(path)
    place = PurePosixPath(row.source if row else tables.name(path))
    folders = place.parts[:-1]
    first = folders[0].casefold() if folders else ""
    role = next((role for role, names in _ROLES.items() if first in names), "")
    inner = folders[1:] if role else folders
    # A video that `clad faces` cut may lie beside the folders of people: PERSON.mp4.
    person = inner[0] if inner else place.stem if row and row.video else None
    if person is None:
        raise ValueError(
            f"expected photographs in a folder per person, got {path} outside of one; {_HINT}"
        )
    if row:
        origin = row.origin
    elif len(inner) > 1:
        video = place.parent.as_posix()
        origin = Origin(f"{video}#{place.stem}", video)
    else:
        origin = origin_of(place.as_posix(), None)
    sample = Sample(
        path,
        0,
        CATEGORY,
        group=tables.person(path) or person,
        domain=Identities.domain,
        origin=origin,
        landmarks=tables.points(path),
    )
    return role, sample


def _counts(splits: Splits) -> list[str]:
    return [
        f"{role} {len({s.group for s in samples})} people ({len(samples)} images)"
        for role in _ROLES
        if (samples := getattr(splits, role))
    ]


def _landmarks(samples: list[Sample]) -> str:
    number = sum(sample.landmarks is not None for sample in samples)
    return f"{number} of {len(samples)} images have 68 landmarks"
