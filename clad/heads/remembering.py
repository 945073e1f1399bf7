"""Heads that remember rows of normal images: tables in checkpoints, and searches made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_range
from clad.heads.base import Head, category_rows
from clad.heads.nearest import NearestRows
from clad.types import ImageFeatures

ReadyT = TypeVar("ReadyT")


class RememberingHead(Head, ABC):
    """Keeps tables of rows as buffers, which a checkpoint brings in the size they were saved in."""

    needs_reference = True

    def __init__(self) -> None:
        super().__init__()
        self.class_names: tuple[str, ...] = ()
        self._categories: dict[str, str] = {}
        self._ready: dict[str, tuple[Tensor, Any]] = {}

    def reserve(self, tables: Mapping[str, str]) -> None:
        """Register an empty buffer for each table.

        Args:
            tables: Name of the table -> category that it is of.
        """
        self._categories = dict(tables)
        for name in tables:
            self.register_buffer(name, torch.empty(0, 0))

    def ready(self, table: str, prepare: Callable[[Tensor], ReadyT]) -> ReadyT:
        """What is made of a table, made once and kept until the table changes or moves.

        Args:
            table: One of the reserved names.
            prepare: (M, C) rows, M >= 1 -> what a search takes.

        Raises:
            ValueError: If nothing was observed of its category.
        """
        rows = self.get_buffer(table)
        if len(rows) == 0:
            raise ValueError(
                f"expected normal images of {self._categories[table]} in the memory, got none; "
                "train the recipe to its end, with normal training images of every category"
            )
        kept_rows, made = self._ready.get(table, (None, None))
        if kept_rows is not rows:
            # What inference mode makes could not take part in a later pass with gradients.
            with torch.inference_mode(False), torch.no_grad():
                made = prepare(rows)
            self._ready[table] = (rows, made)
        return cast(ReadyT, made)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: object) -> None:
        """Tables come in the size they were saved in."""
        for name in self._categories:
            saved = state_dict.get(f"{prefix}{name}")
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, device=self.get_buffer(name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class FewImagesHead(RememberingHead, ABC):
    """Keeps all rows of a few normal images per category, in groups: a layer, a scale of windows.

    Args:
        max_images: Most normal images per category; more are refused.
        published: What the method was published with, for that refusal.
    """

    stored: torch.dtype = torch.float32
    """Numbers that tables are kept in."""

    def __init__(self, max_images: int, published: str) -> None:
        super().__init__()
        expect_range("max_images", max_images, 1, float("inf"))
        self.max_images = max_images
        self._published = published
        self._seen: dict[str, list[tuple[Tensor, ...]]] = {}

    @abstractmethod
    def rows_of(self, features: ImageFeatures) -> Sequence[Tensor]:
        """(B, N, C) float rows of unit length of each group; N and C may differ between groups."""

    def reserve_groups(self, class_names: tuple[str, ...], count: int) -> None:
        """Reserve one table per category and group."""
        self.class_names = tuple(class_names)
        numbered = list(enumerate(class_names))
        self.reserve({_table(n, group): name for n, name in numbered for group in range(count)})

    def start_reference(self) -> None:
        """Forget what was observed."""
        self._seen = {name: [] for name in self.class_names}

    @torch.no_grad()
    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Keep the rows of normal images.

        Raises:
            ValueError: If there are more of a category than ``max_images``.
        """
        category_rows(self.class_names, categories)
        groups = self.rows_of(features)
        for row, category in enumerate(categories):
            seen = self._seen[category]
            seen.append(tuple(group[row].to(self.stored, copy=True) for group in groups))
            if len(seen) > self.max_images:
                raise ValueError(
                    f"expected at most {self.max_images} normal images of {category} to remember, "
                    f"got more; set data.shots to a few ({self._published}), or raise max_images"
                )

    def finish_reference(self) -> None:
        """Fix the tables."""
        for number, category in enumerate(self.class_names):
            for group, rows in enumerate(zip(*self._seen[category], strict=True)):
                setattr(self, _table(number, group), torch.cat(rows))
        self._seen = {}

    def cosine_distances(self, rows: Tensor, group: int, categories: tuple[str, ...]) -> Tensor:
        """(B, N) smallest ``1 - cosine`` to the remembered rows of the image's category.

        Args:
            rows: (B, N, C) float32 of one group, of unit length.
            group: Its position.
            categories: B names.

        Raises:
            ValueError: If nothing is remembered of a category.
        """
        names = category_rows(self.class_names, categories).to(rows.device)
        found = torch.empty(rows.shape[:2], device=rows.device)
        for number in names.unique().tolist():
            search = self.ready(_table(number, group), _unit_rows)
            chosen = names == number
            # At unit length, 1 - cosine is half the squared distance.
            nearest = search.distances(rows[chosen].flatten(0, 1)).square() / 2
            found[chosen] = nearest.unflatten(0, (-1, rows.shape[1]))
        return found


def _unit_rows(table: Tensor) -> NearestRows:
    """Ready for search in single precision; float16 has moved lengths a little."""
    return NearestRows(functional.normalize(table.float(), dim=-1), half=False)


def _table(number: int, group: int) -> str:
    return f"memory_{number}_{group}"
