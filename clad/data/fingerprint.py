"""What a run saw, short enough for a report: a hash of the file list and counts per role."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clad.samples import Sample, Splits

_ROLES = ("train", "validation", "test")


def fingerprint(source: str, root: Path | None, splits: Splits) -> dict[str, Any]:
    """Source, root's name, hash and counts; equal for equal files in equal roles on any machine.

    Args:
        source: Name of the data set.
        root: Its folder; only the name is kept, never where it lies. None for data in a package.
        splits: Samples by role.

    Returns:
        ``source``, ``root`` (a name or None), ``sha256`` over the sorted lines
        ``role, relative name, length in bytes`` of images and masks (contents are not read), and
        ``counts`` as ``{role: {category: {"normal": n, "anomalous": n}}}``.
    """
    files = [
        (role, path)
        for role in _ROLES
        for sample in getattr(splits, role)
        for path in (sample.image_path, sample.mask_path)
        if path is not None
    ]
    base = root if root is not None else _common_folder([path for _, path in files])
    lines = sorted(
        f"{role}\t{_relative(path, base)}\t{path.stat().st_size}" for role, path in files
    )
    return {
        "source": source,
        "root": None if root is None else root.resolve().name,
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "counts": counts_by_role(splits),
    }


def joint_fingerprint(
    source: str, root: Path | None, splits: Splits, parts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Likewise for a set made of others: ``sha256`` over those of its ``parts``, which are kept."""
    together = "\n".join(part["sha256"] for part in parts)
    return {
        "source": source,
        "root": None if root is None else root.resolve().name,
        "sha256": hashlib.sha256(together.encode()).hexdigest(),
        "counts": counts_by_role(splits),
        "parts": list(parts),
    }


def counts_by_role(splits: Splits) -> dict[str, dict[str, dict[str, int]]]:
    """``{role: {category: {"normal": n, "anomalous": n}}}``."""
    return {role: _counts(getattr(splits, role)) for role in _ROLES}


def _counts(samples: tuple[Sample, ...]) -> dict[str, dict[str, int]]:
    table: dict[str, Counter[str]] = {}
    for sample in samples:
        row = table.setdefault(sample.category, Counter({"normal": 0, "anomalous": 0}))
        row["anomalous" if sample.label else "normal"] += 1
    return {category: dict(row) for category, row in table.items()}


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


def _common_folder(paths: list[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
