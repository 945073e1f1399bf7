"""Whether two sets of images hold the same file, under whatever name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from clad.samples import Sample


def expect_no_copies(
    first: str, first_samples: Sequence[Sample], second: str, second_samples: Sequence[Sample]
) -> None:
    """Refuse two sets of images that share a file's content; only files of equal size are read.

    Args:
        first: Name of the first set, for the message.
        first_samples: Its images.
        second: Name of the second set.
        second_samples: Its images.

    Raises:
        ValueError: With how many there are, and one of them.
    """
    copies = find_copies(
        [sample.image_path for sample in first_samples],
        [sample.image_path for sample in second_samples],
    )
    if copies:
        one, other = copies[0]
        raise ValueError(
            f"expected {first} and {second} to share no image, got {len(copies)} in both, e.g. "
            f"{one} and {other}; remove the copies or choose other categories"
        )


def find_copies(first: Iterable[Path], second: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Pairs (file of ``first``, file of ``second``) of equal content, in the order of ``second``.

    Of several equal files in ``first``, the first is named.
    """
    by_size: dict[int, list[Path]] = {}
    for path in first:
        by_size.setdefault(path.stat().st_size, []).append(path)
    digests: dict[int, dict[bytes, Path]] = {}
    pairs = []
    for path in second:
        size = path.stat().st_size
        if size not in by_size:
            continue
        if size not in digests:
            digests[size] = {_digest(p): p for p in reversed(by_size[size])}
        found = digests[size].get(_digest(path))
        if found is not None:
            pairs.append((found, path))
    return pairs


def find_duplicates(paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Groups of two and more files of equal content; only files of equal size are read.

    Groups, and files within one, are in the order given.
    """
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        by_size.setdefault(path.stat().st_size, []).append(path)
    groups: dict[tuple[int, bytes], list[Path]] = {}
    for size, alike in by_size.items():
        if len(alike) > 1:
            for path in alike:
                groups.setdefault((size, _digest(path)), []).append(path)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
