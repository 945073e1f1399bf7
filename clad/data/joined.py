"""Several data sets as one, for one model of all their categories and domains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from clad.data.base import Categories, DataSource, choose_categories
from clad.data.fingerprint import joint_fingerprint
from clad.data.parts import ListedPart, Part, list_parts, made_distinct, write_tiny_parts
from clad.data.splits import describe_counts
from clad.samples import Sample, Splits


class Joined(DataSource):
    """The union of several data sets, role by role.

    Every sample has the domain of its source, so that batches can be balanced by it
    (``data.balance_domains``) and metrics are averaged within it. A category that two parts have
    gets the name of its part in front: ``parts/tile``. Two parts that share an image are refused.

    Args:
        parts: The data sets, each with its root (seen from ``data.root`` if that is set).
    """

    name: ClassVar[str] = "joined"
    needs_root: ClassVar[bool] = False
    is_composed: ClassVar[bool] = True

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts

    @property
    def trains_on_anomalies(self) -> bool:
        """Whether a part does."""
        return any(part.source.trains_on_anomalies for part in self.parts)

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``."""
        listed = made_distinct(list_parts(self.parts, root, seed))
        found = dict.fromkeys(s.category for each in listed for s in each.samples)
        chosen = set(choose_categories(list(found), categories))

        def union(role: str) -> tuple[Sample, ...]:
            every = (sample for each in listed for sample in getattr(each.splits, role))
            return tuple(sample for sample in every if sample.category in chosen)

        splits = Splits(union("train"), union("validation"), union("test"))
        notes = [note for each in listed for note in each.splits.notes]
        notes.append(f"{self.name}: {_describe(listed)}; {describe_counts(splits)}.")
        return Splits(splits.train, splits.validation, splits.test, tuple(notes))

    def fingerprint(self, root: Path | None, splits: Splits) -> dict[str, Any]:
        """Of the whole, and of each part under ``parts``."""
        parts = [each.fingerprint(splits) for each in list_parts(self.parts, root, seed=0)]
        return joint_fingerprint(self.name, root, splits, parts)

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write a miniature of every part that has a root of its own, which must be relative."""
        write_tiny_parts(self.parts, root, seed)


def _describe(listed: list[ListedPart]) -> str:
    return ", ".join(f"{each.name} ({each.part.source.domain})" for each in listed)
