"""Learnable words around the words for normal and anomalous (CoOp)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice, expect_range
from clad.prompts.base import PromptStrategy, expect_class_names
from clad.prompts.learnable_context import (
    TOKEN,
    encode_with_tokens,
    find_tokens,
    random_tokens,
)
from clad.prompts.words import SLOT, class_words
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes

Position = Literal["front", "middle", "end"]


class Context(PromptStrategy):
    """``real [V1] ... [Vn] .`` and ``fake [V1] ... [Vn] .``: the tokens [V] learn.

    Both sentences share the tokens, or each has its own. The words may name the class
    (``real {}``); without a ``{}`` all classes share one pair of prototypes.

    Source: CoOp (Zhou et al., IJCV 2022, arXiv:2109.01134), with random first tokens; CLIPping the
    Deception (Khan and Dang-Nguyen, ICMR 2024, arXiv:2402.12927) puts the word in front: 16 x 768 =
    12,288 parameters on CLIP ViT-L/14.

    Args:
        num_context: n, learnable tokens, >= 1.
        word_position: Where the word stands: in ``front`` of the tokens (CLIPping), in the
            ``middle`` (behind the first n // 2), or at the ``end`` (CoOp).
        normal: The word, or words, for normal; {} stands for the class name.
        anomalous: Likewise for anomalous.
        shared: Whether both sentences share the tokens; else there are twice as many.
        words: YAML file whose class names replace shipped ones; see docs/prompts.md.

    Raises:
        ValueError: If a value is out of range, or the two words are the same.
    """

    def __init__(
        self,
        num_context: int = 16,
        word_position: Position = "front",
        normal: str = "real",
        anomalous: str = "fake",
        shared: bool = True,
        words: Path | None = None,
    ) -> None:
        super().__init__()
        expect_range("num_context", num_context, 1, 1000)
        expect_choice("word_position", word_position, ("front", "middle", "end"))
        if not normal.strip() or not anomalous.strip() or normal == anomalous:
            raise ValueError(
                f"expected two different words, got normal={normal!r} and anomalous={anomalous!r}"
            )
        self.num_context = num_context
        self.word_position: Position = word_position
        self.states = (normal, anomalous)
        self.shared = shared
        self.words = words
        self._found: dict[tuple[str, ...], tuple[Tensor, Tensor]] = {}

    @property
    def names_classes(self) -> bool:
        """Whether the words depend on the class."""
        return any(SLOT in state for state in self.states)

    def attach(self, tower: Tower) -> None:
        """Create the tokens, (1 or 2, n, W).

        Raises:
            ValueError: If the text tower's context is too short, or its tokenizer splits letters.
        """
        ids, _ = self._find(self._sentences(("",)), tower)
        width = tower.embed_tokens(ids).shape[-1]
        self.context = random_tokens(1 if self.shared else 2, self.num_context, width)

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(K, 2, D) prototypes; the same pair for each class where the words name none.

        Raises:
            ValueError: If a class name makes a sentence too long.
        """
        categories = expect_class_names(class_names)
        names: Sequence[str] = [""]
        if self.names_classes:
            names = [class_words(category, self.words).class_name for category in categories]
        ids, positions = (
            part.to(tower.mean.device) for part in self._find(self._sentences(names), tower)
        )
        tokens = self.context if self.shared else self.context.repeat(len(names), 1, 1)
        rows = encode_with_tokens(tower, ids, positions, tokens)
        pairs = functional.normalize(rows, dim=-1).unflatten(0, (len(names), 2))
        return TextPrototypes(categories, pairs.expand(len(categories), 2, -1))

    def _sentences(self, names: Sequence[str]) -> tuple[str, ...]:
        """For each name the normal, then the anomalous sentence."""
        before = {"front": 0, "middle": self.num_context // 2, "end": self.num_context}
        first = [TOKEN] * before[self.word_position]
        last = [TOKEN] * (self.num_context - len(first))
        return tuple(
            " ".join([*first, state.replace(SLOT, name).strip(), *last, "."])
            for name in names
            for state in self.states
        )

    def _find(self, sentences: tuple[str, ...], tower: Tower) -> tuple[Tensor, Tensor]:
        """Ids and positions, kept from the first time: they hold for every step."""
        if sentences not in self._found:
            with torch.inference_mode(False):
                self._found[sentences] = find_tokens(tower, sentences)
        return self._found[sentences]
