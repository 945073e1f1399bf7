"""Run directories of a few images, written file by file as their format says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import yaml
from pyarrow import parquet

Files = dict[str, tuple[int, float]]
"""Path below the root, which starts with the category -> label and score."""


class Faces(NamedTuple):
    """Frames and videos of images, in their order."""

    frames: Sequence[str]
    videos: Sequence[str]


def write_tiny_run(
    folder: Path,
    files: Files,
    *,
    root: str = "/data/parts",
    thresholds: dict[str, float] | None = None,
    groups: Sequence[str | None] | None = None,
    faces: Faces | None = None,
    pixels: dict[str, float] | None = None,
    seed: int = 0,
    image_size: int = 64,
    sha256: str = "ab" * 32,
    has_root: bool = True,
) -> Path:
    """A run directory as `clad test` leaves it, less the gallery.

    Args:
        folder: Made if missing.
        files: What was tested.
        root: Folder of the data.
        thresholds: By category.
        groups: By image.
        faces: By image.
        pixels: Category -> pixel AUROC.
        seed: Of training.
        image_size: Of the data.
        sha256: Fingerprint.
        has_root: Whether the configuration names the root.
    """
    categories = [name.split("/")[0] for name in files]
    names = list(dict.fromkeys(categories))
    columns: dict[str, Any] = {
        "path": [f"{root}/{name}" for name in files],
        "category": categories,
        "defect_type": ["crack" if label else "good" for label, _ in files.values()],
        "label": [label for label, _ in files.values()],
        "score": [float(score) for _, score in files.values()],
        "threshold": [float((thresholds or {}).get(name, "nan")) for name in categories],
    }
    if groups is not None:
        columns["group"] = list(groups)
    if faces is not None:
        columns |= {"frame": list(faces.frames), "video": list(faces.videos)}
        columns["has_face"] = [True] * len(files)
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), folder / "predictions.parquet")
    data = {"seed": 42, "image_size": image_size, **({"root": root} if has_root else {})}
    for name, content in {
        "metrics.json": {"test": _evaluation(names, pixels or {})},
        "run.json": {"seed": seed, "recipe": "tiny"},
        "data.json": {"sha256": sha256, "source": "tiny"},
    }.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder


def _evaluation(names: Sequence[str], pixels: dict[str, float]) -> dict[str, Any]:
    mean = sum(pixels.values()) / len(pixels) if pixels else None
    rows = {name: {"pixel_auroc": pixels.get(name)} for name in names}
    return {"mean": {"pixel_auroc": mean}, "per_category": rows}
