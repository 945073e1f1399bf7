"""AdaCLIP's prompts of the text encoder: tokens made from the image, written over the first words.

Letters in shapes: B images, N sentences, T tokens of a sentence, W width of the text encoder, M
prompt tokens, D the shared embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_range
from clad.prompts.base import TEXTS_PER_CALL, PromptStrategy, expect_class_names
from clad.prompts.ensemble_files import load_ensemble
from clad.prompts.learnable_context import count_text_layers
from clad.prompts.words import class_words
from clad.towers.base import LayerHook, Tower
from clad.tuning.prompt_tokens import PromptTokens, expect_prompt_options
from clad.types import Batch, ImageFeatures, TextPrototypes


class Hybrid(PromptStrategy):
    """States in templates, encoded with static and dynamic tokens in the first text layers.

    The first layer reads the words. Before each of the layers 2 to ``depth``, the states at
    positions 1 to ``length``, right behind the start of the text, give way to learnable tokens:
    what the first layer made of the words before the state ("a bad photo of a") is overwritten,
    and lives on only in what later words have seen of it. Each sentence's embedding is normalised,
    then averaged.

    Source: AdaCLIP (Cao et al., ECCV 2024, arXiv:2407.15795), section 3.2; where tokens are written
    is read from its code. There the first layer has static tokens, too, which nothing uses; they
    are left out here. Its code takes one image at a time; here every image has its prototypes.

    Args:
        ensemble: Name of a shipped set of states and templates (``ada_clip``) or path of a YAML
            file of the same layout.
        depth: J, text layers that prompts reach, at least 2; the layers from 2 to J are written to.
        length: M, tokens per layer; every sentence must have more words than that.
        static: Tokens that all images share, learned as they are.
        dynamic: Tokens made from each image by linear layers; where both are on, they are added.
            Without them, all images of a class share their prototypes.
        words: YAML file whose class names replace shipped ones; see docs/prompts.md.
    """

    def __init__(
        self,
        ensemble: str = "ada_clip",
        depth: int = 4,
        length: int = 5,
        static: bool = True,
        dynamic: bool = True,
        words: Path | None = None,
    ) -> None:
        super().__init__()
        expect_range("depth", depth, 2, 1000)
        expect_prompt_options(depth, length, static, dynamic)
        self.ensemble = load_ensemble(ensemble)
        self.depth = depth
        self.length = length
        self.static = static
        self.dynamic = dynamic
        self.words = words
        self.per_image = dynamic
        self._ids: dict[str, Tensor] = {}

    def attach(self, tower: Tower) -> None:
        """Create the tokens for the tower's widths.

        Raises:
            ValueError: If the text tower has fewer layers than ``depth``.
        """
        ids = tower.tokenize(["a"])
        num_layers = count_text_layers(tower, ids)
        if num_layers < self.depth:
            raise ValueError(
                f"expected a text tower of at least {self.depth} layers, got {num_layers} in "
                f"{type(tower).__name__}; set depth to {num_layers} or less"
            )
        width = tower.embed_tokens(ids).shape[-1]
        self.tokens = PromptTokens(
            tower.embed_dim, width, self.depth - 1, self.length, self.static, self.dynamic
        )
        self._ids = {}

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(B, 2, D) prototypes, one pair per image; (K, 2, D) without dynamic tokens.

        Raises:
            ValueError: If dynamic tokens have no image to be made from, or a sentence is too short
                for the tokens.
        """
        categories = expect_class_names(class_names)
        if not self.dynamic:
            tokens = self.tokens.tokens()[0]
            pairs = [self._pair(category, tower, tokens) for category in categories]
            return TextPrototypes(categories, torch.stack(pairs))
        if batch is None:
            raise ValueError("expected a batch for dynamic prompts, got none; pass the images")
        images = batch.categories
        made = self.tokens.tokens(_context(features)).unbind()
        pairs = [self._pair(name, tower, own) for name, own in zip(images, made, strict=True)]
        return TextPrototypes(images, torch.stack(pairs), per_image=True)

    def _pair(self, category: str, tower: Tower, tokens: Tensor) -> Tensor:
        """(2, D) unit prototypes of one class with these (L, M, W) tokens."""
        ids, num_normal = self._sentences(category, tower)
        hook = _write(tokens)
        parts = [
            tower.encode_embeddings(tower.embed_tokens(some), some, hook)
            for some in ids.split(TEXTS_PER_CALL)
        ]
        unit_ND = functional.normalize(torch.cat(parts).float(), dim=-1)
        sides = (unit_ND[:num_normal], unit_ND[num_normal:])
        return functional.normalize(torch.stack([side.mean(0) for side in sides]), dim=-1)

    def _sentences(self, category: str, tower: Tower) -> tuple[Tensor, int]:
        """(N, T) ids of all sentences of a class, and how many of them speak of a normal one."""
        class_name = class_words(category, self.words).class_name
        normal, anomalous = self.ensemble.prompts(class_name)
        if class_name not in self._ids:
            texts = [*normal, *anomalous]
            self._expect_room(texts, tower)
            self._ids[class_name] = tower.tokenize(texts)
        return self._ids[class_name].to(tower.mean.device), len(normal)

    def _expect_room(self, texts: Sequence[str], tower: Tower) -> None:
        lengths = {text: tower.tokenize([text]).shape[1] for text in texts}
        shortest = min(texts, key=lambda text: lengths[text])
        room = lengths[shortest] - 2  # start and end of the text must survive
        if room < self.length:
            raise ValueError(
                f"expected sentences of at least {self.length} tokens for as many prompt tokens, "
                f"got {room} in {shortest!r}; lower length, or write longer templates"
            )


def _context(features: ImageFeatures | None) -> Tensor:
    """(B, D) plain image embeddings, without a graph.

    Raises:
        ValueError: If the tower gives none.
    """
    plain = None
    if features is not None:
        plain = features.embedding if features.context is None else features.context
    if plain is None:
        raise ValueError(
            "expected image embeddings of an aligned tower for dynamic prompts, got none; choose "
            "a CLIP tower (configs/tower/), or set dynamic to false"
        )
    return plain.detach()


def _write(tokens: Tensor) -> LayerHook:
    """Hook that writes (L, M, W) tokens behind the first state, from the second layer on."""
    end = 1 + tokens.shape[1]

    def write(layer: int, states: Tensor) -> Tensor:
        if not 1 <= layer <= len(tokens):
            return states
        rows = tokens[layer - 1].to(states).expand(len(states), -1, -1)
        return torch.cat([states[:, :1], rows, states[:, end:]], dim=1)

    return write
