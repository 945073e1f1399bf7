"""Any sensible folder of images; says what it inferred."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from clad.checks import expect_folder, expect_range
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.files import count_other_files
from clad.data.folder_layout import CategoryLayout, find_categories, read_category
from clad.data.splits import carve_validation, count_by, describe_counts, partition
from clad.data.tiny import save_category
from clad.samples import Splits


class Folder(DataSource):
    """Images of your own; the layout is inferred and the notes say how it was read.

    Accepted, for one category or a folder of categories, in any case of letters and with nested
    folders of images:

    * ``train/`` and ``test/`` with ``good/`` and one folder per defect inside (MVTec-AD's layout);
      images directly in ``train/`` count as good; ``validation/`` is used if it is there;
    * ``good/`` (or ``normal``, ``ok``, ``nominal``) beside folders of defects (or ``abnormal``,
      ``ng``, ``bad``): good images are split by the seed, defective ones are for test only;
    * nothing but good images: no test.

    Masks are optional: ``ground_truth/`` (or ``masks``, ``mask``, ``labels``) beside the others,
    paired by stem (``000.png`` or ``000_mask.png``) and, where stems repeat, by defect folder.

    Args:
        validation_fraction: Share of good images held out for thresholds where there is no
            ``validation/``, [0, 0.9].
        test_fraction: Share of good images held out for test where there is no ``test/`` but
            there are defects, [0, 0.9].
    """

    name: ClassVar[str] = "folder"
    is_layout: ClassVar[bool] = True

    def __init__(self, validation_fraction: float = 0.15, test_fraction: float = 0.2) -> None:
        expect_range("validation_fraction", validation_fraction, 0, 0.9)
        expect_range("test_fraction", test_fraction, 0, 0.9)
        expect_range(
            "validation_fraction + test_fraction", validation_fraction + test_fraction, 0, 0.95
        )
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``.

        Raises:
            ValueError: Also if the layout is ambiguous, with what was found and what is accepted.
        """
        folder = expect_folder("data.root", root, "set data.root to a folder of images")
        found = find_categories(folder)
        chosen = choose_categories(list(found), categories)
        layouts = [read_category(found[name], name) for name in chosen]
        parts = [self._split(layout, seed) for layout in layouts]
        splits = Splits(
            train=tuple(s for part in parts for s in part.train),
            validation=tuple(s for part in parts for s in part.validation),
            test=tuple(s for part in parts for s in part.test),
        )
        notes = [note for part in parts for note in part.notes]
        others = sum(count_other_files(found[name]) for name in chosen)
        if others:
            notes.append(f"{others} files that are not images were ignored.")
        return Splits(splits.train, splits.validation, splits.test, tuple(notes))

    def _split(self, layout: CategoryLayout, seed: int) -> Splits:
        train, validation, test = layout.train, layout.validation, layout.test
        how = "as stored"
        if layout.unsplit:
            how = f"good images split by seed {seed}, defective ones for test only"
            normal = [s for s in layout.unsplit if s.label == 0]
            anomalous = tuple(s for s in layout.unsplit if s.label == 1)
            test_fraction = self.test_fraction if anomalous else 0.0
            rest = 1 - self.validation_fraction - test_fraction
            train, validation, held_out = partition(
                normal, (rest, self.validation_fraction, test_fraction), seed
            )
            test = (*held_out, *anomalous)
        elif not validation:
            train, validation = carve_validation(train, self.validation_fraction, seed)
            how = "as stored, validation held out of the good training images"
        splits = Splits(train, validation, test)
        notes = [f"{layout.category}: {layout.kind}; {how}; {describe_counts(splits)}."]
        notes += _remarks(layout.category, splits)
        if layout.num_unused_masks:
            notes.append(
                f"{layout.category}: {layout.num_unused_masks} masks fit no anomalous image."
            )
        return Splits(train, validation, test, tuple(notes))

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write one category of 8 training and 9 test images of 64 pixels in MVTec-AD's layout."""
        save_category(root, np.random.default_rng(seed))


def _remarks(category: str, splits: Splits) -> list[str]:
    remarks = []
    defects = count_by((s for s in splits.test if s.label == 1), lambda s: s.defect_type)
    anomalous = [s for s in (*splits.train, *splits.test) if s.label == 1]
    num_masks = sum(s.mask_path is not None for s in anomalous)
    if defects:
        listed = ", ".join(f"{name} {number}" for name, number in defects.items())
        remarks.append(
            f"{category}: defects {listed}; {num_masks} of {len(anomalous)} anomalous images have "
            "a mask."
        )
    elif splits.test:
        remarks.append(f"{category}: test holds no anomalous images, most metrics are undefined.")
    else:
        remarks.append(f"{category}: no test images; metrics need labelled ones, scores do not.")
    if not splits.train:
        remarks.append(f"{category}: no training images; only what needs no training can run.")
    return remarks
