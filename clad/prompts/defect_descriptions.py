"""Sentences about normal objects and about each kind of defect, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from clad.prompts.base import PromptStrategy, encode_texts, expect_class_names
from clad.prompts.words import class_words
from clad.samples import GOOD
from clad.towers.base import Tower
from clad.types import Batch, DescriptionBank, ImageFeatures, TextPrototypes


class DefectDescriptions(PromptStrategy):
    """Prototypes are mean descriptions; the descriptions themselves come along as a bank.

    The bank lets a loss pair an image with the words of its own defect, and an explanation name
    it. Nothing to learn.

    Source: CLAD (arXiv:2412.00890) pairs images with object and defect descriptions; it prints
    none, so the sentences are ours (``clad/prompts/words``).

    Args:
        words: YAML file whose words are laid over the shipped ones; see docs/prompts.md.
    """

    def __init__(self, words: Path | None = None) -> None:
        super().__init__()
        self.words = words

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(K, 2, D) prototypes: the normalised mean of the unit embeddings of each side."""
        categories = expect_class_names(class_names)
        bank = self._bank(categories, tower)
        rows: dict[tuple[str, int], list[int]] = {}
        for row, key in enumerate(zip(bank.class_names, bank.labels, strict=True)):
            rows.setdefault(key, []).append(row)
        means = [
            torch.stack([_mean(bank.embeddings, rows[category, label]) for label in (0, 1)])
            for category in categories
        ]
        prototypes = functional.normalize(torch.stack(means), dim=-1)
        return TextPrototypes(categories, prototypes, bank=bank)

    def _bank(self, categories: tuple[str, ...], tower: Tower) -> DescriptionBank:
        described: list[tuple[str, str, int, str]] = []
        for category in categories:
            words = class_words(category, self.words)
            described += [(text, category, 0, GOOD) for text in words.normal]
            described += [
                (text, category, 1, kind) for kind, texts in words.defects.items() for text in texts
            ]
        texts, owners, labels, kinds = zip(*described, strict=True)
        embeddings = functional.normalize(encode_texts(tower, texts), dim=-1)
        return DescriptionBank(texts, embeddings, owners, labels, kinds)


def _mean(embeddings: Tensor, rows: list[int]) -> Tensor:
    return embeddings[rows].mean(dim=0)
