"""Towers that see and do not read: what they share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from typing import NoReturn

from torch import Tensor, nn

from clad.towers.base import LayerHook, Tower


class ImageOnlyTower(Tower, ABC):
    """A tower without words: for heads that classify, or that compare with normal images."""

    has_text = False
    is_aligned = False

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Refused.

        Raises:
            ValueError: Always.
        """
        self._refuse(f"{texts[0]!r}")

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Refused.

        Raises:
            ValueError: Always.
        """
        del ids
        self._refuse("token ids")

    def encode_embeddings(
        self, embeddings: Tensor, ids: Tensor, layer_hook: LayerHook | None = None
    ) -> Tensor:
        """Refused.

        Raises:
            ValueError: Always.
        """
        del embeddings, ids, layer_hook
        self._refuse("token embeddings")

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """None."""
        return iter(())

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(
            f"expected a tower that reads, got {type(self).__name__} for {what}, which has no text "
            "side; leave model.prompts out and use a head that needs no text "
            "(configs/head/linear.yaml), or take another tower (configs/tower/)"
        )
