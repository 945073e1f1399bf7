"""AnomalyCLIP's prompts: learnable words about any object, normal or damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_range, expect_shape
from clad.prompts.base import PromptStrategy, expect_class_names
from clad.prompts.learnable_context import (
    DeepTokens,
    count_text_layers,
    encode_with_context,
    place_context,
    random_tokens,
)
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes


class ObjectAgnostic(PromptStrategy):
    """``[V1] ... [Vn] object.`` and ``[W1] ... [Wn] damaged object.``, whatever the object is.

    Class names are never read, so all classes share one pair of prototypes, and what is learned on
    some objects is asked of others. Before each inner text layer, up to ``depth``, the states of
    the first context positions are replaced by tokens that belong to that layer and that both
    sentences share.

    Source: AnomalyCLIP (Zhou et al., ICLR 2024, arXiv:2310.18961). Its code also registers linear
    layers that nothing uses; they are left out here.

    Args:
        num_context: Learnable tokens before the words, n >= 1; each sentence has its own.
        depth: Text layers that read learnable tokens, >= 1: the first reads the context, each
            other one has tokens of its own. 1 switches deep tokens off.
        num_deep_tokens: Context positions that deep tokens replace, 1 to ``num_context``.
        normal: Words after the normal context.
        anomalous: Words after the anomalous context.
        weights: A ``.pth`` file of prompts that AnomalyCLIP's own code has trained; None begins
            with random tokens.
    """

    ids: Tensor

    def __init__(
        self,
        num_context: int = 12,
        depth: int = 9,
        num_deep_tokens: int = 4,
        normal: str = "object.",
        anomalous: str = "damaged object.",
        weights: Path | None = None,
    ) -> None:
        super().__init__()
        expect_range("num_context", num_context, 1, 1000)
        expect_range("depth", depth, 1, 1000)
        expect_range("num_deep_tokens", num_deep_tokens, 1, num_context)
        self.num_context = num_context
        self.depth = depth
        self.num_deep_tokens = num_deep_tokens
        self.endings = (normal, anomalous)
        self.weights = weights

    def attach(self, tower: Tower) -> None:
        """Create the learnable tokens: (2, n, W) context and (depth - 1, m, W) deep ones.

        Raises:
            FileNotFoundError: If ``weights`` is not there.
            ValueError: If the text tower has too few layers or too short a context, or ``weights``
                holds something else.
        """
        ids, self.start = place_context(tower, self.endings, self.num_context)
        self.register_buffer("ids", ids, persistent=False)
        width = tower.embed_tokens(ids).shape[-1]
        self.context = random_tokens(2, self.num_context, width)
        self.deep: DeepTokens | None = None
        if self.depth > 1:
            num_layers = count_text_layers(tower, ids)
            if num_layers < self.depth:
                raise ValueError(
                    f"expected a text tower of at least {self.depth} layers for deep tokens, got "
                    f"{num_layers} in {type(tower).__name__}; set depth to {num_layers} or less"
                )
            self.deep = DeepTokens(self.depth - 1, self.num_deep_tokens, width)
        if self.weights is not None:
            self._load(self.weights)

    def _load(self, path: Path) -> None:
        context, deep = read_released_prompts(path)
        wanted = [self.context] if self.deep is None else [self.context, self.deep.tokens]
        shapes = [tuple(tokens.shape) for tokens in wanted]
        found = [tuple(tokens.shape) for tokens in (context, deep) if len(tokens)]
        if found != shapes:
            raise ValueError(
                f"expected context and deep tokens of shapes {shapes}, got {found} in {path}; set "
                "num_context, depth and num_deep_tokens as they were trained, with the same tower"
            )
        with torch.no_grad():
            for tokens, trained in zip(wanted, (context, deep), strict=False):
                tokens.copy_(trained)

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(K, 2, D) prototypes, the same pair for each of the K class names."""
        names = expect_class_names(class_names)
        hook = None if self.deep is None else self.deep.written_from(self.start)
        rows = encode_with_context(tower, self.ids, self.start, self.context, hook)
        pair = functional.normalize(rows, dim=-1)
        return TextPrototypes(names, pair.expand(len(names), 2, -1))


def read_released_prompts(path: Path) -> tuple[Tensor, Tensor]:
    """Trained tokens of a file that AnomalyCLIP's ``train.py`` wrote; nothing in it is executed.

    Returns:
        (2, n, W) context, normal first, and (L, m, W) deep tokens, both float32; L may be 0.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it holds anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected trained prompts at {path}, found no file; check weights")
    hint = "name a file like AnomalyCLIP's checkpoints/9_12_4_multiscale/epoch_15.pth"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the reader raise anything
        raise ValueError(
            f"expected tensors only in {path}, got a damaged file or one that could run code "
            f"({type(error).__name__}); {hint}"
        ) from error
    state = content.get("prompt_learner") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not {"ctx_pos", "ctx_neg"} <= set(state):
        raise ValueError(
            f"expected prompt_learner with ctx_pos and ctx_neg in {path}, got none; {hint}"
        )
    sides = [state["ctx_pos"], state["ctx_neg"]]
    for name, side in zip(("ctx_pos", "ctx_neg"), sides, strict=True):
        expect_shape(f"{name} in {path}", side, (1, 1, None, None))
    context = torch.cat([side[0] for side in sides]).float()
    names = [f"compound_prompts_text.{layer}" for layer in range(len(state))]
    deep = [state[name] for name in names if name in state]
    return context, torch.stack(deep).float() if deep else context.new_zeros(0)
