"""States x templates: many short sentences per class, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice
from clad.prompts.base import PromptStrategy, encode_texts, expect_class_names
from clad.prompts.words import SLOT, class_words, read_yaml_mapping, sentences
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes

ENSEMBLES_FOLDER = Path(__file__).parent / "ensembles"
ENSEMBLE_KEYS = {"source", "normal", "anomalous", "templates"}


@dataclass(frozen=True)
class Ensemble:
    """States of an object, and templates that take a state; every one holds ``{}``."""

    normal: tuple[str, ...]
    anomalous: tuple[str, ...]
    templates: tuple[str, ...]

    def prompts(self, class_name: str) -> tuple[list[str], list[str]]:
        """All normal and all anomalous sentences about a class."""
        sides = [
            [
                template.replace(SLOT, state.replace(SLOT, class_name))
                for state in states
                for template in self.templates
            ]
            for states in (self.normal, self.anomalous)
        ]
        return sides[0], sides[1]


class StateEnsemble(PromptStrategy):
    """The mean over every state in every template; nothing to learn.

    Source: WinCLIP (Jeong et al., CVPR 2023, arXiv:2303.14814) with ``average: raw``;
    APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382) with ``average: unit``.

    Args:
        ensemble: Name of a shipped set (``winclip``, ``april_gan``) or path of a YAML file of the
            same layout.
        average: ``raw`` averages embeddings as they come and normalises the mean; ``unit``
            normalises each embedding first, so that long ones count no more than others.
        words: YAML file whose class names replace shipped ones; see docs/prompts.md.
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


def load_ensemble(name: str) -> Ensemble:
    """A shipped set of states and templates by name, or a user's by path.

    Raises:
        FileNotFoundError: If a path is not there.
        ValueError: If the name is unknown or the file malformed.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        shipped = {file.stem: file for file in ENSEMBLES_FOLDER.glob("*.yaml")}
        expect_choice("ensemble (a shipped name or the path of a .yaml file)", name, shipped)
        path = shipped[name]
    content = read_yaml_mapping(path, "prompt ensemble")
    missing = sorted({"normal", "anomalous", "templates"} - set(content))
    unknown = sorted(str(key) for key in set(content) - ENSEMBLE_KEYS)
    if missing or unknown:
        raise ValueError(
            f"expected the keys normal, anomalous, templates and source in {path}; "
            f"missing {missing}, unknown {unknown}"
        )
    parts = {
        key: sentences(content[key], f"{path}: {key}")
        for key in ("normal", "anomalous", "templates")
    }
    for key, texts in parts.items():
        without = [text for text in texts if text.count(SLOT) != 1]
        if without:
            raise ValueError(f"expected {{}} exactly once in each of {path}: {key}, got {without}")
    return Ensemble(**parts)
