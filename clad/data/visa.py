"""VisA, read in place by the owner's split table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from clad.checks import expect_folder
from clad.data import owner_counts
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.files import inside, shown
from clad.data.splits import carve_validation, describe_counts
from clad.data.tiny import defective_texture, normal_texture, save
from clad.samples import Sample, Splits

ANOMALY = "anomaly"

_TABLE = Path("split_csv", "1cls.csv")
_COLUMNS = ("object", "split", "label", "image", "mask")
_HINT = f"set data.root to the folder that holds {_TABLE.as_posix()}"


class VisA(DataSource):
    """VisA: 12 objects, 10,821 photographs, with pixel masks; the owner's one-class split.

    ``split_csv/1cls.csv`` names every image, its split, its label and its mask, relative to the
    root; nothing is copied or moved::

        object,split,label,image,mask
        candle,train,normal,candle/Data/Images/Normal/0000.JPG,
        candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png

    Source: Zou et al., SPot-the-Difference, ECCV 2022. CC BY 4.0, Amazon.

    Args:
        validation_fraction: Share of the normal training images held out for thresholds, [0, 0.9].
    """

    name: ClassVar[str] = "visa"

    def __init__(self, validation_fraction: float = 0.1) -> None:
        self.validation_fraction = validation_fraction

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``."""
        folder = expect_folder("data.root", root, _HINT)
        table = folder / _TABLE
        if not table.is_file():
            raise FileNotFoundError(f"expected the table {table}, found none; {_HINT}")
        rows = list(_read_rows(folder, table))
        available = sorted({sample.category for _, sample in rows})
        chosen = choose_categories(available, categories)
        rows = [(split, sample) for split, sample in rows if sample.category in chosen]
        rows.sort(key=lambda row: (row[1].category, row[1].label, row[1].image_path.as_posix()))
        _expect_files([sample for _, sample in rows], folder)
        fit = [sample for split, sample in rows if split == "train"]
        test = tuple(sample for split, sample in rows if split == "test")
        train, validation = carve_validation(fit, self.validation_fraction, seed)
        splits = Splits(train, validation, test)
        notes = [f"{self.name}: {describe_counts(splits)}."]
        incomplete = owner_counts.incomplete_note(owner_counts.count(splits), owner_counts.VISA)
        notes += [incomplete] if incomplete else []
        return Splits(train, validation, test, tuple(notes))

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write two categories of 8 training and 6 test images of 64 pixels."""
        rng = np.random.default_rng(seed)
        rows = []
        for kind, category in enumerate(("candle", "pcb1")):
            data = f"{category}/Data"
            for i in range(11):
                image = f"{data}/Images/Normal/{i:04d}.JPG"
                save(normal_texture(rng, kind), root / image)
                rows.append((category, "train" if i < 8 else "test", "normal", image, ""))
            for i in range(3):
                image = f"{data}/Images/Anomaly/{i:03d}.JPG"
                mask = f"{data}/Masks/Anomaly/{i:03d}.png"
                pixels, truth = defective_texture(rng, kind)
                save(pixels, root / image)
                save(truth, root / mask)
                rows.append((category, "test", ANOMALY, image, mask))
        table = root / _TABLE
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])


def _read_rows(root: Path, table: Path) -> Iterator[tuple[str, Sample]]:
    """(split, sample) of every row.

    Raises:
        ValueError: If a column is missing, a word unknown, or a path leaves the root.
    """
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise ValueError(
                f"expected columns {', '.join(_COLUMNS)} in {table}, got {reader.fieldnames}; "
                "use the owner's file"
            )
        for row in reader:
            where = f"line {reader.line_num} of {table}"
            if row["split"] not in ("train", "test") or row["label"] not in ("normal", ANOMALY):
                raise ValueError(
                    f"expected split train or test and label normal or {ANOMALY}, got "
                    f"{row['split']!r} and {row['label']!r} in {where}; use the owner's file"
                )
            image = inside(root, row["image"] or "", where)
            if row["label"] == "normal":
                yield row["split"], Sample(image, 0, row["object"])
            else:
                mask = inside(root, row["mask"] or "", where)
                yield row["split"], Sample(image, 1, row["object"], ANOMALY, mask)


def _expect_files(samples: list[Sample], root: Path) -> None:
    paths = [p for s in samples for p in (s.image_path, s.mask_path) if p is not None]
    missing = [path.relative_to(root).as_posix() for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"expected every file of {_TABLE.as_posix()} in {root}, found nothing for "
            f"{len(missing)}: {shown(missing)}; extract the whole archive"
        )
