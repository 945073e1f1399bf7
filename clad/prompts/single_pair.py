"""One normal and one anomalous sentence per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.nn import functional

from clad.prompts.base import PromptStrategy, encode_texts, expect_class_names
from clad.prompts.words import SLOT, class_words
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes


class SinglePair(PromptStrategy):
    """The plainest prompt: two sentences per class, nothing to learn.

    Source: the "two-class prompt" of WinCLIP's ablation (Jeong et al., CVPR 2023,
    arXiv:2303.14814).

    Args:
        normal: Sentence about a normal object; ``{}`` stands for the class name.
        anomalous: Sentence about an anomalous object, likewise.
        words: YAML file whose class names replace shipped ones; see docs/prompts.md.
    """

    def __init__(
        self,
        normal: str = "a photo of a flawless {}",
        anomalous: str = "a photo of a damaged {}",
        words: Path | None = None,
    ) -> None:
        super().__init__()
        if not normal.strip() or not anomalous.strip() or normal == anomalous:
            raise ValueError(
                f"expected two different sentences, got normal={normal!r} and "
                f"anomalous={anomalous!r}"
            )
        self.sentences = (normal, anomalous)
        self.words = words

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(K, 2, D) prototypes: the embeddings of the two sentences, normalised."""
        categories = expect_class_names(class_names)
        names = [class_words(category, self.words).class_name for category in categories]
        texts = [sentence.replace(SLOT, name) for name in names for sentence in self.sentences]
        embeddings_KSD = encode_texts(tower, texts).unflatten(0, (len(names), 2))
        return TextPrototypes(categories, functional.normalize(embeddings_KSD, dim=-1))
