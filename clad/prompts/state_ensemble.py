"""States x templates: many short sentences per class, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice
from clad.prompts.base import PromptStrategy, encode_texts, expect_class_names
from clad.prompts.ensemble_files import load_ensemble
from clad.prompts.words import class_words
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes


class StateEnsemble(PromptStrategy):
    """The mean over every state in every template; nothing to learn.

    Source: WinCLIP (Jeong et al., CVPR 2023, arXiv:2303.14814) with ``average: raw``;
    APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382) with ``average: unit``.

    Args:
        ensemble: Name of a shipped set (``winclip``, ``april_gan``, ``ada_clip``, ``aa_clip``) or
            path of a YAML file of the same layout.
        average: ``raw`` averages embeddings as they come and normalises the mean; ``unit``
            normalises each embedding first, so that long ones count no more than others.
        words: YAML file whose class names replace shipped ones, or a shipped list of such names
            (``aa_clip``); see docs/prompts.md.
    """

    def __init__(
        self,
        ensemble: str = "winclip",
        average: Literal["raw", "unit"] = "raw",
        words: Path | None = None,
    ) -> None:
        super().__init__()
        expect_choice("average", average, ("raw", "unit"))
        self.ensemble = load_ensemble(ensemble)
        self.average = average
        self.words = words

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(K, 2, D) prototypes: the normalised mean of each side's sentences."""
        categories = expect_class_names(class_names)
        names = [class_words(category, self.words).class_name for category in categories]
        by_name = {name: self._prototypes(name, tower) for name in dict.fromkeys(names)}
        return TextPrototypes(categories, torch.stack([by_name[name] for name in names]))

    def _prototypes(self, class_name: str, tower: Tower) -> Tensor:
        means = []
        for texts in self.ensemble.prompts(class_name):
            embeddings = encode_texts(tower, texts)
            if self.average == "unit":
                embeddings = functional.normalize(embeddings, dim=-1)
            means.append(embeddings.mean(dim=0))
        return functional.normalize(torch.stack(means), dim=-1)
