"""Electroluminescence images of solar cells (ELPV) from the package ``elpv-dataset``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from clad.checks import expect_choice, expect_folder
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.files import inside, shown
from clad.data.splits import describe_counts, take
from clad.data.tiny import defective_texture, normal_texture, save
from clad.samples import Sample, Splits

CELL_TYPES = ("mono", "poly")
DEFECTIVE = "defective"

Ambiguous = Literal["exclude", "anomalous", "rounded"]
_LABEL_FILE = "labels.csv"


class SolarCells(DataSource):
    """ELPV: 2,624 photographs of cells of 44 solar modules, with a defect probability each.

    Categories are the cell types ``mono`` and ``poly``. Probability 0 is normal and 1 anomalous;
    there are no masks, and the module a cell comes from is not published, so splits are by file.
    Per category: ``num_train`` normal images for training, ``num_validation`` for validation, all
    other normal images and all anomalous ones for test. Without ``data.root`` the files of the
    package are read in place; a root holds ``labels.csv`` (name, probability, type, separated by
    spaces) and ``images/``.

    Source: Buerhop-Lutz et al., EU PVSEC 2018; Deitsch et al., Solar Energy 185, 2019; Deitsch et
    al., Machine Vision and Applications 32, 2021. CC BY-NC-SA 4.0 by its owners.

    Args:
        num_train: Normal training images per category.
        num_validation: Normal validation images per category.
        train_anomalies: Anomalous images per category moved from test to train.
        validation_anomalies: Anomalous images per category moved from test to validation.
        ambiguous: What to do with probabilities 1/3 and 2/3: ``exclude`` them, call both
            ``anomalous``, or ``rounded``: 1/3 normal, 2/3 anomalous.
    """

    name: ClassVar[str] = "solar_cells"
    needs_root: ClassVar[bool] = False

    def __init__(
        self,
        num_train: int = 200,
        num_validation: int = 50,
        train_anomalies: int = 0,
        validation_anomalies: int = 0,
        ambiguous: Ambiguous = "exclude",
    ) -> None:
        expect_choice("ambiguous", ambiguous, ("exclude", "anomalous", "rounded"))
        self.num_train = num_train
        self.num_validation = num_validation
        self.train_anomalies = train_anomalies
        self.validation_anomalies = validation_anomalies
        self.ambiguous = ambiguous

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``.

        In a ``root`` of one's own, a category with too few images is shared out in proportion.
        """
        if root is None:
            folder = _package_folder()
        else:
            folder = expect_folder("data.root", root, f"it holds {_LABEL_FILE} and images/")
        rows = _read_labels(folder)
        available = [name for name in CELL_TYPES if any(s.category == name for s, _ in rows)]
        chosen = choose_categories(available, categories)
        labelled = [self._label(sample, p) for sample, p in rows if sample.category in chosen]
        samples = [sample for sample in labelled if sample is not None]
        scale_down = root is not None
        normal = take(
            [s for s in samples if s.label == 0],
            (self.num_train, self.num_validation),
            seed,
            scale_down,
        )
        anomalous = take(
            [s for s in samples if s.label == 1],
            (self.train_anomalies, self.validation_anomalies),
            seed,
            scale_down,
        )
        train, validation, test = (a + b for a, b in zip(normal, anomalous, strict=True))
        splits = Splits(train, validation, test)
        notes = [f"{self.name} ({', '.join(chosen)}): {describe_counts(splits)}; no masks."]
        if len(samples) < len(labelled):
            notes.append(
                f"{len(labelled) - len(samples)} images of probability 1/3 or 2/3 are left out "
                "(ambiguous: exclude)."
            )
        if scale_down and len(train) < self.num_train * len(chosen):
            notes.append(f"Fewer than num_train = {self.num_train} images: shared in proportion.")
        return Splits(train, validation, test, tuple(notes))

    def _label(self, sample: Sample, probability: float) -> Sample | None:
        if 0 < probability < 1:
            if self.ambiguous == "exclude":
                return None
            probability = 1.0 if self.ambiguous == "anomalous" else float(probability > 0.5)
        if probability == 0:
            return sample
        return Sample(sample.image_path, 1, sample.category, DEFECTIVE)

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 12 normal, 4 ambiguous and 5 defective cells of 64 pixels per cell type."""
        rng = np.random.default_rng(seed)
        lines: list[str] = []
        probabilities = [0.0] * 12 + [1 / 3, 2 / 3] * 2 + [1.0] * 5
        for kind, cell_type in enumerate(CELL_TYPES):
            for probability in probabilities:
                name = f"images/cell{len(lines) + 1:04d}.png"
                is_defective = probability > 0.5
                image = (
                    defective_texture(rng, kind)[0] if is_defective else normal_texture(rng, kind)
                )
                save(image[:, :, 0], root / name)
                lines.append(f"{name}  {probability!r}  {cell_type}\n")
        (root / _LABEL_FILE).write_text("".join(lines), encoding="utf-8")


def _package_folder() -> Path:
    try:
        package = import_module("elpv_dataset")
    except ImportError as error:
        raise ImportError(
            "expected the package elpv-dataset for the solar cells, found none; "
            "run: pip install 'clad-anomaly[offline]'"
        ) from error
    return Path(str(package.__file__)).parent / "data"


def _read_labels(folder: Path) -> list[tuple[Sample, float]]:
    """Normal samples with their defect probability, in the order of ``labels.csv``.

    Raises:
        FileNotFoundError: If the file or an image is missing.
        ValueError: If a line is not ``name probability type``.
    """
    table = folder / _LABEL_FILE
    if not table.is_file():
        raise FileNotFoundError(f"expected {_LABEL_FILE} in {folder}, found none; see docs/data.md")
    rows = []
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"line {number} of {table}"
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3 or fields[2] not in CELL_TYPES or not _is_probability(fields[1]):
            raise ValueError(
                f"expected `name probability type` with a probability in [0, 1] and type mono or "
                f"poly, got {line!r} in {where}; correct the line"
            )
        path = inside(folder, fields[0], where)
        rows.append((Sample(path, 0, fields[2]), float(fields[1])))
    missing = [sample.image_path for sample, _ in rows if not sample.image_path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"expected every image of {table}, found nothing for {len(missing)}: {shown(missing)}; "
            "copy the images/ folder, too"
        )
    return rows


def _is_probability(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
