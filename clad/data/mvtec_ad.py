"""MVTec-AD, and any folder that keeps to its layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from clad.checks import expect_folder
from clad.data import owner_counts
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.files import index_masks, list_folders, list_images, pair_masks, shown
from clad.data.splits import carve_validation, describe_counts
from clad.data.tiny import save_category
from clad.samples import GOOD, Sample, Splits

_HINT = "set data.root to a folder of categories, or to one category (with train/ and test/)"


class MVTecAD(DataSource):
    """MVTec-AD: train on good images, test on good and defective ones, with pixel masks.

    Layout of a category::

        train/good/000.png
        test/good/000.png  test/broken/000.png
        ground_truth/broken/000_mask.png        (000.png is read, too)

    Source: Bergmann et al., MVTec AD, CVPR 2019. CC BY-NC-SA 4.0, MVTec Software GmbH.

    Args:
        validation_fraction: Share of the good training images held out for thresholds, [0, 0.9].
        masks_required: Whether an anomalous image without a mask is refused.
    """

    name: ClassVar[str] = "mvtec_ad"

    def __init__(self, validation_fraction: float = 0.1, masks_required: bool = True) -> None:
        self.validation_fraction = validation_fraction
        self.masks_required = masks_required

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``. ``root`` may be a category itself."""
        folder = expect_folder("data.root", root, _HINT)
        found = _find_categories(folder)
        fit: list[Sample] = []
        test: list[Sample] = []
        for category in choose_categories(list(found), categories):
            fit += self._list_train(found[category], category)
            test += self._list_test(found[category], category)
        train, validation = carve_validation(fit, self.validation_fraction, seed)
        splits = Splits(train, validation, tuple(test))
        notes = [f"{self.name}: {describe_counts(splits)}."]
        without = sum(s.label == 1 and s.mask_path is None for s in test)
        if without:
            notes.append(f"{without} anomalous images have no mask; pixel metrics leave them out.")
        incomplete = owner_counts.incomplete_note(owner_counts.count(splits), owner_counts.MVTEC_AD)
        notes += [incomplete] if incomplete else []
        return Splits(train, validation, tuple(test), tuple(notes))

    def _list_train(self, folder: Path, category: str) -> list[Sample]:
        images = list_images(folder / "train" / GOOD)
        if not images:
            raise ValueError(
                f"expected images in {folder / 'train' / GOOD}, found none; "
                "put the good training images there"
            )
        return [Sample(path, 0, category) for path in images]

    def _list_test(self, folder: Path, category: str) -> list[Sample]:
        samples: list[Sample] = []
        missing: list[str] = []
        for inner in list_folders(folder / "test"):
            images = list_images(inner)
            if inner.name == GOOD:
                samples += [Sample(path, 0, category) for path in images]
                continue
            masks = index_masks(list_images(folder / "ground_truth" / inner.name))
            for image, mask in zip(images, pair_masks(images, masks), strict=True):
                samples.append(Sample(image, 1, category, inner.name, mask))
                if mask is None:
                    missing.append(f"ground_truth/{inner.name}/{image.stem}_mask.png")
        if not samples:
            raise ValueError(
                f"expected images in folders of {folder / 'test'}, found none; "
                "put good/ and one folder per defect there"
            )
        if missing and self.masks_required:
            raise FileNotFoundError(
                f"expected a mask for every anomalous image in {folder}, found none for "
                f"{len(missing)}: {shown(missing)}; add them, or set masks_required: false"
            )
        return samples

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write two categories of 8 training and 9 test images of 64 pixels."""
        rng = np.random.default_rng(seed)
        for kind, category in enumerate(("metal_nut", "tile")):
            save_category(root / category, rng, kind)


def _find_categories(root: Path) -> dict[str, Path]:
    """Category folders by name: ``root`` itself if it holds train/ and test/, else those inside.

    Raises:
        FileNotFoundError: If there is none.
    """
    if _is_category(root):
        return {root.resolve().name: root}
    found = {folder.name: folder for folder in list_folders(root) if _is_category(folder)}
    if not found:
        inside = shown(folder.name for folder in list_folders(root)) or "no folders"
        raise FileNotFoundError(
            f"expected folders with train/ and test/ in {root}, found {inside}; {_HINT}"
        )
    return found


def _is_category(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()
