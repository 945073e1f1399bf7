"""Two random directions in place of words: what is left of a method when the text says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from clad.prompts.base import PromptStrategy, expect_class_names
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes


class RandomPair(PromptStrategy):
    """One random unit vector for normal and one for anomalous, the same for every class.

    They are drawn once, do not learn, and travel in checkpoints. No text is encoded.

    Source: the row "random frozen text" of RepDFD's Table 5 (Lin et al., AAAI 2025,
    arXiv:2409.02664). Its code does not hold that row; here the random part is the text embedding.
    """

    directions: Tensor

    def attach(self, tower: Tower) -> None:
        """Draw both vectors for the tower's width."""
        drawn = functional.normalize(torch.randn(2, tower.embed_dim), dim=-1)
        self.register_buffer("directions", drawn)

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(K, 2, D) prototypes, the two vectors K times."""
        names = expect_class_names(class_names)
        return TextPrototypes(names, self.directions.expand(len(names), -1, -1))
