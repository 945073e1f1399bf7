"""Folders of real and of fake images: generated or manipulated faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from clad.checks import expect_choice, expect_folder, expect_range
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.face_clips import list_videos, refuse_without_frames
from clad.data.face_tables import FaceTables, read_tables
from clad.data.files import list_images, mask_key
from clad.data.folder_layout import TEST_NAMES, TRAIN_NAMES, VALIDATION_NAMES
from clad.data.splits import carve_validation, check_disjoint, count_by, describe_counts, partition
from clad.data.tiny import defective_texture, normal_texture, save
from clad.samples import GOOD, Sample, Splits

CATEGORY, FAKE = "face", "fake"

_REAL_NAMES = frozenset({"real", "0_real"})
_FAKE_NAMES = frozenset({"fake", "1_fake"})
_MASK_FOLDERS = frozenset({"mask", "masks"})
_ROLES = {"train": TRAIN_NAMES, "validation": VALIDATION_NAMES, "test": TEST_NAMES}
_ACCEPTED = (
    "accepted are folders real/ and fake/ (or 0_real/ and 1_fake/), inside of train/, val/ and "
    "test/ or not, with one folder per generator around or inside them or not"
)


class RealFake(DataSource):
    """Real images (label 0) against fake ones (label 1), domain ``face``.

    Accepted, in any case of letters::

        train/real/0.png  train/fake/0.png  test/real/1.png  test/fake/1.png
        test/stylegan/0_real/1.png  test/stylegan/1_fake/1.png     a folder per generator, around
        test/fake/stylegan/1.png                                   or inside of fake/
        real/0.png  fake/0.png                                     without splits
        train/mask/METHOD/0.png                                    mask of train/fake/METHOD/0.png

    The name of a generator is the defect type of its images, else ``fake``. The folder around them
    is also their category, as the benchmarks of generated images are read (Wang et al., CVPR 2020);
    everything else is the category ``face``. Where no image is stored for test, a share of both
    kinds is held out; where there is no validation, a share of the real training images.

    Tables in the root are read where they are: ``landmarks.csv`` (68 points per image),
    ``people.csv`` (image,person; a person stays in one role) and the ``faces.csv`` of ``clad
    faces``. This is what ``clad forge`` writes.

    Args:
        validation_fraction: Share of the real training images held out for thresholds where there
            is no ``val/``, [0, 0.9].
        test_fraction: Share of all images held out for test where there is no ``test/``, [0, 0.9].
        train_on_fakes: Whether the fake images of ``train/`` are labelled training images; else
            only the real ones are used.
        category_per_generator: Whether the folder of a generator is a category of its own; else
            all images are the category ``face``.
        train_methods: Kinds of fakes (defect types) that train and validation hold; None all. The
            test keeps all.
    """

    name: ClassVar[str] = "real_fake"
    domain: ClassVar[str] = "face"
    is_layout: ClassVar[bool] = True

    def __init__(
        self,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        train_on_fakes: bool = True,
        category_per_generator: bool = True,
        train_methods: list[str] | None = None,
    ) -> None:
        expect_range("validation_fraction", validation_fraction, 0, 0.9)
        expect_range("test_fraction", test_fraction, 0, 0.9)
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.train_on_fakes = train_on_fakes
        self.category_per_generator = category_per_generator
        self.train_methods = train_methods

    @property
    def trains_on_anomalies(self) -> bool:
        """Whether fake images are in train."""
        return self.train_on_fakes

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``."""
        folder = expect_folder("data.root", root, "it holds real/ and fake/, or train/ and test/")
        tables = read_tables(folder)
        images, masks = _find(folder, tables)
        found = [self._read(path, tables, masks) for path in images]
        if not found:
            if list_videos(folder):
                raise refuse_without_frames(folder, folder)
            raise ValueError(f"expected images in {folder}, found none; {_ACCEPTED}")
        num_unused = len(set(masks.values()) - {sample.mask_path for _, sample in found})
        chosen = choose_categories(sorted({s.category for _, s in found}), categories)
        found = [(role, sample) for role, sample in found if sample.category in chosen]
        splits, how = self._split(found, seed, folder)
        check_disjoint(splits)
        counts = count_by((s for s in splits.test if s.label), lambda s: s.defect_type)
        notes = (
            f"{self.name} ({', '.join(chosen)}): {how}; {describe_counts(splits)}; "
            f"{_describe_masks([sample for _, sample in found], num_unused)}.",
            f"{self.name}: fake test images {', '.join(f'{k} {n}' for k, n in counts.items())}.",
            *(f"{self.name}: {note}." for note in tables.notes),
        )
        return Splits(splits.train, splits.validation, splits.test, notes)

    def _split(
        self, found: Sequence[tuple[str, Sample]], seed: int, folder: Path
    ) -> tuple[Splits, str]:
        """Samples by role, and how they came by it.

        Raises:
            ValueError: If only some have a stored role, or there are no fakes of a wanted kind.
        """
        by_role = {
            role: tuple(s for stored, s in found if stored == role) for role in (*_ROLES, "")
        }
        unsplit = by_role[""]
        if unsplit and len(unsplit) < len(found):
            raise ValueError(
                f"expected every image of {folder} in train/, val/ or test/, or none of them, got "
                f"both, e.g. {unsplit[0].image_path}; {_ACCEPTED}"
            )
        train, validation, test = by_role["train"], by_role["validation"], by_role["test"]
        how = "as stored"
        if not test:
            train, test = partition(
                (*train, *unsplit), (1 - self.test_fraction, self.test_fraction), seed
            )
            how += f", test held out by seed {seed}"
        if not validation:
            train, validation = carve_validation(train, self.validation_fraction, seed)
            how += ", validation held out of the real training images"
        if not self.train_on_fakes:
            train = tuple(s for s in train if s.label == 0)
            validation = tuple(s for s in validation if s.label == 0)
            how += ", fake images for test only"
        if self.train_methods is not None:
            kinds = {sample.defect_type for _, sample in found if sample.label}
            for method in self.train_methods:
                expect_choice("train_methods", method, kinds)
            wanted = {GOOD, *self.train_methods}
            train = tuple(s for s in train if s.defect_type in wanted)
            validation = tuple(s for s in validation if s.defect_type in wanted)
            how += f", fakes of training only of {', '.join(self.train_methods) or 'no method'}"
        return Splits(train, validation, test), how

    def _read(
        self, path: Path, tables: FaceTables, masks: Mapping[str, Path]
    ) -> tuple[str, Sample]:
        """Stored role (empty where there is none) and sample.

        Raises:
            ValueError: If the folders do not say whether the image is real.
        """
        row = tables.row(path)
        folders = PurePosixPath(row.source if row else tables.name(path)).parts[:-1]
        plain = [name.casefold() for name in folders]
        places = [i for i, name in enumerate(plain) if name in _REAL_NAMES | _FAKE_NAMES]
        if len(places) != 1:
            raise ValueError(
                f"expected folders that say whether {path} is real or fake, got "
                f"{'/'.join(folders) or 'none'}; {_ACCEPTED}"
            )
        place = places[0]
        roles = {
            role: number
            for number, name in enumerate(plain[:place])
            for role, names in _ROLES.items()
            if name in names
        }
        if len(roles) > 1:
            raise ValueError(f"expected one split for {path}, got {', '.join(roles)}; {_ACCEPTED}")
        around = [name for i, name in enumerate(folders[:place]) if i not in roles.values()]
        is_real = plain[place] in _REAL_NAMES
        sample = Sample(
            path,
            label=int(not is_real),
            category=around[0] if around and self.category_per_generator else CATEGORY,
            defect_type=GOOD if is_real else next(iter([*folders[place + 1 :], *around]), FAKE),
            mask_path=None if is_real else masks.get(_mask_place(tables.name(path))),
            group=tables.person(path) or (row.source if row and row.video else None),
            domain=self.domain,
            origin=row.origin if row else None,
            landmarks=tables.points(path),
        )
        return next(iter(roles), ""), sample

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 10 real and 6 fake training images, 4 of each for test, 64 pixels wide."""
        rng = np.random.default_rng(seed)
        for split, num_real, num_fake in (("train", 10, 6), ("test", 4, 4)):
            for i in range(num_real):
                save(normal_texture(rng, kind=2), root / split / "real" / f"{i:03d}.png")
            for i in range(num_fake):
                image, _ = defective_texture(rng, kind=2)
                save(image, root / split / "fake" / f"{i:03d}.png")


def _find(folder: Path, tables: FaceTables) -> tuple[list[Path], dict[str, Path]]:
    """Images, and masks by the place of the image that they belong to.

    Raises:
        ValueError: If two masks claim one image.
    """
    images: list[Path] = []
    masks: dict[str, Path] = {}
    for path in list_images(folder, nested=True):
        names = {name.casefold() for name in PurePosixPath(tables.name(path)).parts[:-1]}
        if not names & _MASK_FOLDERS or names & (_REAL_NAMES | _FAKE_NAMES):
            images.append(path)
            continue
        # What `clad faces` cut out of a mask is no mask of anything.
        first = masks.setdefault(_mask_place(tables.name(path)), path)
        if first != path:
            raise ValueError(
                f"expected one mask per image, got {first} and {path}; remove one of them"
            )
    return images, {place: path for place, path in masks.items() if tables.row(path) is None}


def _mask_place(name: str) -> str:
    """Path without suffix in which ``fake`` and ``mask`` are the same word."""
    path = PurePosixPath(name)
    parts = [
        "*" if part.casefold() in _FAKE_NAMES | _MASK_FOLDERS else part for part in path.parts[:-1]
    ]
    return "/".join([*parts, mask_key(Path(path.name))])


def _describe_masks(samples: Sequence[Sample], num_unused: int) -> str:
    fakes = [sample for sample in samples if sample.label]
    masked = sum(sample.mask_path is not None for sample in fakes)
    if not masked and not num_unused:
        return "no masks"
    end = f", {num_unused} masks fit no fake image" if num_unused else ""
    return f"masks of {masked} of {len(fakes)} fake images{end}"
