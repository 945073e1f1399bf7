"""Learnable tokens that are shared by all images, made from each image, or the sum of both.

Letters in shapes: B batch, L layers, M tokens, C width of the states they join, D shared embedding,
P patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clad.checks import expect_range, expect_shape
from clad.towers.base import LayerHook

_INITIAL_STD = 0.02
"""Of static tokens, as in AdaCLIP's code."""


class PromptTokens(nn.Module):
    """M tokens for each of L layers: static ones, learned as they are, plus dynamic ones.

    Each layer has static tokens of its own. Dynamic tokens are one linear layer per position of the
    image's plain embedding, the same for every layer.

    Source: AdaCLIP (Cao et al., ECCV 2024, arXiv:2407.15795), hybrid prompts; that dynamic tokens
    are shared by layers is read from its code.

    Args:
        context_dim: D, width of the image embedding.
        width: C, width of the states.
        num_layers: L, at least 1.
        length: M, at least 1.
        static: Whether there are static tokens.
        dynamic: Whether there are dynamic ones.

    Raises:
        ValueError: If there would be neither, or a count is less than 1.
    """

    def __init__(
        self,
        context_dim: int,
        width: int,
        num_layers: int,
        length: int,
        static: bool = True,
        dynamic: bool = True,
    ) -> None:
        super().__init__()
        expect_prompt_options(num_layers, length, static, dynamic)
        self.length = length
        self.num_layers = num_layers
        tokens = _INITIAL_STD * torch.randn(num_layers, length, width)
        self.static = nn.Parameter(tokens) if static else None
        self.dynamic = nn.Linear(context_dim, length * width) if dynamic else None

    def tokens(self, context: Tensor | None = None) -> Tensor:
        """(B, L, M, C) float tokens of each image; B is 1 where all images share them.

        Args:
            context: (B, D) float, the plain embeddings, not normalised; static tokens need none.
        """
        made: Tensor | None = None
        if self.dynamic is not None:
            assert context is not None
            expect_shape("context", context, (None, self.dynamic.in_features))
            made = self.dynamic(context).unflatten(-1, (1, self.length, -1))
            made = made.expand(-1, self.num_layers, -1, -1)
        if self.static is None:
            assert made is not None
            return made
        return self.static[None] if made is None else made + self.static


class AppendedTokens(PromptTokens):
    """Prompt tokens of an image encoder: behind the patches, new ones before each of L layers.

    The first layer's are appended; each following layer finds what the layer before made of them,
    and puts its own in their place. After the last, they go on unchanged in number.
    """

    def forward(self, context: Tensor) -> LayerHook:
        """Hook on states (B, 1 + P, C), for the images that ``context`` (B, D) was made of."""
        made = self.tokens(context)

        def append(layer: int, states: Tensor) -> Tensor:
            if layer >= self.num_layers:
                return states
            kept = states if layer == 0 else states[:, : -self.length]
            rows = made[:, layer].to(states).expand(len(states), -1, -1)
            return torch.cat([kept, rows], dim=1)

        return append


def expect_prompt_options(num_layers: int, length: int, static: bool, dynamic: bool) -> None:
    """Refuse prompts that would hold nothing.

    Raises:
        ValueError: With what to set.
    """
    expect_range("number of prompted layers", num_layers, 1, 1000)
    expect_range("length", length, 1, 1000)
    if not (static or dynamic):
        raise ValueError(
            "expected static or dynamic prompts, got neither; leave the part out of the recipe"
        )
