"""Folders of real and of fake images: generated or manipulated faces."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from clad.checks import expect_folder, expect_range
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.files import list_images
from clad.data.folder_layout import TEST_NAMES, TRAIN_NAMES, VALIDATION_NAMES
from clad.data.splits import carve_validation, count_by, describe_counts, partition
from clad.data.tiny import defective_texture, normal_texture, save
from clad.samples import GOOD, Sample, Splits

CATEGORY, FAKE = "face", "fake"

_REAL_NAMES = frozenset({"real", "0_real"})
_FAKE_NAMES = frozenset({"fake", "1_fake"})
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

    The name of a generator is the defect type of its images, else ``fake``. The folder around them
    is also their category, as the benchmarks of generated images are read (Wang et al., CVPR 2020);
    everything else is the category ``face``. Where no image is stored for test, a share of both
    kinds is held out; where there is no validation, a share of the real training images.

    Args:
        validation_fraction: Share of the real training images held out for thresholds where there
            is no ``val/``, [0, 0.9].
        test_fraction: Share of all images held out for test where there is no ``test/``, [0, 0.9].
        train_on_fakes: Whether the fake images of ``train/`` are labelled training images; else
            only the real ones are used.
        category_per_generator: Whether the folder of a generator is a category of its own; else
            all images are the category ``face``.
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
    ) -> None:
        expect_range("validation_fraction", validation_fraction, 0, 0.9)
        expect_range("test_fraction", test_fraction, 0, 0.9)
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.train_on_fakes = train_on_fakes
        self.category_per_generator = category_per_generator

    @property
    def trains_on_anomalies(self) -> bool:
        """Whether fake images are in train."""
        return self.train_on_fakes

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``."""
        folder = expect_folder("data.root", root, "it holds real/ and fake/, or train/ and test/")
        found = [self._read(path, folder) for path in list_images(folder, nested=True)]
        if not found:
            raise ValueError(f"expected images in {folder}, found none; {_ACCEPTED}")
        chosen = choose_categories(sorted({s.category for _, s in found}), categories)
        found = [(role, sample) for role, sample in found if sample.category in chosen]
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
        splits = Splits(train, validation, test)
        kinds = count_by((s for s in test if s.label), lambda s: s.defect_type)
        notes = (
            f"{self.name} ({', '.join(chosen)}): {how}; {describe_counts(splits)}; no masks.",
            f"{self.name}: fake test images {', '.join(f'{k} {n}' for k, n in kinds.items())}.",
        )
        return Splits(train, validation, test, notes)

    def _read(self, path: Path, root: Path) -> tuple[str, Sample]:
        """Stored role (empty where there is none) and sample.

        Raises:
            ValueError: If the folders do not say whether the image is real.
        """
        folders = path.relative_to(root).parts[:-1]
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
        role = next(iter(roles), "")
        around = [name for i, name in enumerate(folders[:place]) if i not in roles.values()]
        category = around[0] if around and self.category_per_generator else CATEGORY
        if plain[place] in _REAL_NAMES:
            return role, Sample(path, 0, category, GOOD, domain=self.domain)
        defect = next(iter([*folders[place + 1 :], *around]), FAKE)
        return role, Sample(path, 1, category, defect, domain=self.domain)

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 10 real and 6 fake training images, 4 of each for test, 64 pixels wide."""
        rng = np.random.default_rng(seed)
        for split, num_real, num_fake in (("train", 10, 6), ("test", 4, 4)):
            for i in range(num_real):
                save(normal_texture(rng, kind=2), root / split / "real" / f"{i:03d}.png")
            for i in range(num_fake):
                image, _ = defective_texture(rng, kind=2)
                save(image, root / split / "fake" / f"{i:03d}.png")
