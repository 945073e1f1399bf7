"""Simulated textiles from the package ``conformal-clip-data``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np

from clad.checks import expect_folder
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.files import list_images
from clad.data.splits import describe_counts, take
from clad.data.tiny import defective_texture, normal_texture, save, save_normals
from clad.samples import Sample, Splits

CATEGORY = "textile"
DEFECTS = ("local", "global")

_NORMAL_FOLDER = "nominal"
_PACKAGE_PATH = Path("data", "textile_images", "simulated")


class Textile(DataSource):
    """1,000 nominal weaves and 500 each with local and global defects, 250 x 250, no masks.

    ``local`` breaks the weave in one place; ``global`` shifts the weave's parameters by 5 % all
    over, which the eye hardly sees. Each image is simulated on its own, so splits are by file:
    ``num_train`` nominal images for training, ``num_validation`` for validation, the rest and all
    defective ones for test. Without ``data.root`` the files of the package are read in place; a
    root holds the folders ``nominal``, ``local`` and ``global``.

    Source: Megahed et al., arXiv:2501.12596, with the simulator of Bui and Apley, spc4sts,
    Journal of Quality Technology 53(3), 2021. MIT licence by its owners.

    Args:
        num_train: Nominal training images.
        num_validation: Nominal validation images.
    """

    name: ClassVar[str] = "textile"
    needs_root: ClassVar[bool] = False

    def __init__(self, num_train: int = 300, num_validation: int = 100) -> None:
        self.num_train = num_train
        self.num_validation = num_validation

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``.

        In a ``root`` of one's own with too few images, these are shared out in proportion.
        """
        if root is None:
            folder = _package_folder()
        else:
            folder = expect_folder("data.root", root, "it holds nominal/, local/ and global/")
        choose_categories([CATEGORY], categories)
        normal = [Sample(path, 0, CATEGORY) for path in _expect_images(folder / _NORMAL_FOLDER)]
        anomalous = [
            Sample(path, 1, CATEGORY, defect)
            for defect in DEFECTS
            for path in _expect_images(folder / defect)
        ]
        counts = (self.num_train, self.num_validation)
        train, validation, held_out = take(normal, counts, seed, scale_down=root is not None)
        splits = Splits(train, validation, (*held_out, *anomalous))
        notes = [f"{self.name}: {describe_counts(splits)}; no masks."]
        if len(train) < self.num_train:
            notes.append(f"Fewer than num_train = {self.num_train} images: shared in proportion.")
        return Splits(splits.train, splits.validation, splits.test, tuple(notes))

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 12 nominal and 4 images of each defect, 64 pixels wide."""
        rng = np.random.default_rng(seed)
        save_normals(root / _NORMAL_FOLDER, 12, rng, suffix=".jpg")
        for i in range(4):
            save(defective_texture(rng)[0], root / "local" / f"{i:03d}.jpg")
            save(normal_texture(rng, kind=1), root / "global" / f"{i:03d}.jpg")


def _package_folder() -> Path:
    try:
        package = import_module("conformal_clip_data")
    except ImportError as error:
        raise ImportError(
            "expected the package conformal-clip-data for the textiles, found none; "
            "run: pip install 'clad-anomaly[offline]'"
        ) from error
    return Path(str(package.__file__)).parent / _PACKAGE_PATH


def _expect_images(folder: Path) -> list[Path]:
    images = list_images(folder)
    if not images:
        raise FileNotFoundError(
            f"expected images in {folder}, found none; the root holds nominal/, local/ and global/"
        )
    return images
