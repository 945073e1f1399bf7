"""Several data sets as parts of one: where each lies, and names that none of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from clad.checks import expect_folder
from clad.data.base import DataSource
from clad.data.overlap import expect_no_copies
from clad.samples import Sample, Splits

SEPARATOR = "/"
"""Between the name of a part and a category that two parts have."""


@dataclass
class Part:
    """One data set among several.

    Args:
        source: The data set.
        root: Its folder, seen from ``data.root`` if that is set; left out, it is ``data.root``
            itself, or the package for data that ships in one.
        categories: ``all`` or names of its categories.
        name: In messages, and before categories that two parts have; None takes the source's.
    """

    source: DataSource
    root: Path | None = None
    categories: Literal["all"] | list[str] = "all"
    name: str | None = None


@dataclass(frozen=True)
class ListedPart:
    """A part with its samples.

    Args:
        name: Unique among the parts.
        part: As configured.
        folder: Where it lies; None for data in a package.
        splits: Its samples.
    """

    name: str
    part: Part
    folder: Path | None
    splits: Splits

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Of any role."""
        return (*self.splits.train, *self.splits.validation, *self.splits.test)

    @property
    def categories(self) -> set[str]:
        """Of any role."""
        return {sample.category for sample in self.samples}

    def fingerprint(self, whole: Splits) -> dict[str, Any]:
        """Of this part's images, in the roles that they have in the whole."""
        own = {sample.image_path for sample in self.samples}
        roles = {
            role: tuple(s for s in getattr(whole, role) if s.image_path in own)
            for role in ("train", "validation", "test")
        }
        found = self.part.source.fingerprint(self.folder, Splits(**roles))
        return {"name": self.name, **found}


def list_parts(parts: Sequence[Part], root: Path | None, seed: int) -> list[ListedPart]:
    """Every part with its samples, as its source lists them.

    Args:
        parts: At least one.
        root: Folder that the parts' roots are seen from, or None.
        seed: Decides random splits where the owner gives none.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If there is no part, or one is several data sets itself.
    """
    if not parts:
        raise ValueError("expected at least one data set, got none; name some under `source`")
    base = None
    if root is not None:
        base = expect_folder("data.root", root, "the roots of the parts are seen from there")
    listed = []
    for part, name in zip(parts, _names(parts), strict=True):
        if part.source.is_composed:
            raise ValueError(
                f"expected one data set per part, got {type(part.source).__name__} for {name}, "
                "which is several itself; list its parts instead"
            )
        folder = _folder(part, name, base)
        splits = part.source.list_samples(folder, part.categories, seed)
        listed.append(ListedPart(name, part, folder, splits))
    return listed


def made_distinct(listed: Sequence[ListedPart]) -> list[ListedPart]:
    """The parts with names that fit together: ``part/category`` where several have a category.

    Raises:
        ValueError: If two parts share an image, by content.
    """
    for one, other in combinations(listed, 2):
        expect_no_copies(one.name, one.samples, other.name, other.samples)
    count = Counter(category for each in listed for category in each.categories)
    shared = {category for category, number in count.items() if number > 1}
    return [replace(each, splits=_renamed(each, shared)) for each in listed]


def write_tiny_parts(parts: Sequence[Part], root: Path, seed: int = 0) -> None:
    """Write a miniature of every part that has a root of its own.

    Raises:
        ValueError: If such a root is absolute, because real images may lie there.
    """
    for number, (part, name) in enumerate(zip(parts, _names(parts), strict=True)):
        if part.root is None:
            continue
        if part.root.is_absolute():
            raise ValueError(
                f"expected the root of {name} to be seen from data.root, got {part.root}; give a "
                "relative one for a miniature"
            )
        part.source.write_tiny(root / part.root, seed + 1000 * number)


def _names(parts: Sequence[Part]) -> list[str]:
    """Names of the parts, numbered where several share one."""
    names = [part.name or part.source.name for part in parts]
    count = Counter(names)
    return [
        name if count[name] == 1 else f"{name}_{names[:position].count(name) + 1}"
        for position, name in enumerate(names)
    ]


def _folder(part: Part, name: str, base: Path | None) -> Path | None:
    if part.root is None and not part.source.needs_root:
        return None
    if part.root is None and base is None:
        raise FileNotFoundError(
            f"expected a folder for {name}, got none; set its `root` in the configuration, or "
            "data.root"
        )
    if part.root is None:
        return base
    folder = part.root if base is None else base / part.root
    return expect_folder(f"the root of {name}", folder, "set its `root` in the configuration")


def _renamed(listed: ListedPart, shared: set[str]) -> Splits:
    """Samples under the categories, groups and domain of the whole."""
    name, domain = listed.name, listed.part.source.domain

    def change(sample: Sample) -> Sample:
        category, group = sample.category, sample.group
        return replace(
            sample,
            category=f"{name}{SEPARATOR}{category}" if category in shared else category,
            group=None if group is None else f"{name}{SEPARATOR}{group}",
            domain=domain,
        )

    splits = listed.splits
    return Splits(
        tuple(map(change, splits.train)),
        tuple(map(change, splits.validation)),
        tuple(map(change, splits.test)),
        splits.notes,
    )
