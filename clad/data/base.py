"""The data-set contract: a source lists samples by role and can write a miniature of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from clad.checks import expect_choice
from clad.data.fingerprint import fingerprint
from clad.samples import Splits

Categories = Literal["all"] | Sequence[str]


class DataSource(ABC):
    """Files on disk -> samples by role. One file and one YAML per data set.

    Decoding, resizing, caching, synthesis and batching are the data module's work; a source only
    knows the layout. Test samples never enter ``train`` or ``validation``.
    """

    name: ClassVar[str]
    """Name in run directories and reports."""

    domain: ClassVar[str] = "industrial"
    """``industrial`` or ``face``; joint models report per domain."""

    needs_root: ClassVar[bool] = True
    """False for data that ships inside a package; ``root`` may then be None."""

    is_layout: ClassVar[bool] = False
    """Whether it is a layout that anybody's images can have, instead of one published data set."""

    is_composed: ClassVar[bool] = False
    """Whether it is made of other sources."""

    has_anomalies: ClassVar[bool] = True
    """False for real photographs only: anomalies must be synthesised, tests have one label."""

    @property
    def trains_on_anomalies(self) -> bool:
        """Whether labelled anomalies are in train without being asked for."""
        return False

    @abstractmethod
    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples of the chosen categories by role, in a stable order.

        Args:
            root: Folder of the data set; None only if ``needs_root`` is False.
            categories: ``all`` or names of categories.
            seed: Decides random splits where the owner gives none.

        Raises:
            FileNotFoundError: If the folder or a file that the layout demands is missing.
            ValueError: If a category is unknown or empty.
        """

    def fingerprint(self, root: Path | None, splits: Splits) -> dict[str, Any]:
        """What ``data.json`` holds: see ``clad.data.fingerprint``.

        Args:
            root: As given to ``list_samples``.
            splits: What the run saw of it.
        """
        return fingerprint(self.name, root, splits)

    @abstractmethod
    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write a miniature of this layout (a few small images with masks) for tests and trials."""


def choose_categories(available: Sequence[str], wanted: Categories) -> list[str]:
    """The wanted category names in the order of ``available``.

    Raises:
        ValueError: If a name is not available, or none is left.
    """
    if wanted == "all":
        chosen = list(available)
    else:
        for name in wanted:
            expect_choice("category", name, available)
        chosen = [name for name in available if name in set(wanted)]
    if not chosen:
        raise ValueError("expected at least one category, got none; name some, or use `all`")
    return chosen
