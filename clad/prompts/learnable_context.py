"""Sentences with learnable tokens in them: shared by strategies that train a context.

Letters in shapes: N texts, T tokens, n learnable ones, W width of the text tower, D the shared
embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clad.towers.base import LayerHook, Tower

INITIAL_STD = 0.02
"""Of every learnable token, as in CoOp (arXiv:2109.01134) and AnomalyCLIP (arXiv:2310.18961)."""

TOKEN = "[V]"
"""Stands for one learnable token in a sentence."""

_PLACEHOLDERS = ("X", "Z")
"""Words that hold the place of a learnable token; one token each in any common vocabulary."""


def random_tokens(*shape: int) -> nn.Parameter:
    """Learnable tokens of that shape, drawn from N(0, 0.02^2)."""
    return nn.Parameter(INITIAL_STD * torch.randn(*shape))


def find_tokens(tower: Tower, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids of sentences, and where their learnable tokens are.

    Positions are found by exchanging the word that holds them, so any tokenizer will do that spends
    one token on a letter.

    Args:
        tower: Tokenizes.
        sentences: N texts with n times ``TOKEN`` each, between blanks: ``fake [V] [V] .``

    Returns:
        (N, T) int64 ids with placeholders, and (N, n) int64 positions, increasing.

    Raises:
        ValueError: If a sentence is longer than the tower's context, or a letter is not one token.
    """
    counts = {sentence.split().count(TOKEN) for sentence in sentences}
    (num_tokens,) = counts  # all alike, or the caller is at fault
    made = []
    for word in _PLACEHOLDERS:
        try:
            made.append(tower.tokenize([sentence.replace(TOKEN, word) for sentence in sentences]))
        except ValueError as error:
            plain = [" ".join(sentence.replace(TOKEN, "").split()) for sentence in sentences]
            raise ValueError(
                f"expected room for {num_tokens} learnable tokens beside {plain}, but "
                f"{type(tower).__name__} says: {error}; lower num_context"
            ) from error
    ids, others = made
    if ids.shape == others.shape:
        differs = ids != others
        if bool((differs.sum(1) == num_tokens).all()):
            return ids, differs.nonzero()[:, 1].view(len(ids), num_tokens)
    raise ValueError(
        f"expected one token per placeholder {_PLACEHOLDERS[0]!r}, got other ids from the "
        f"tokenizer of {type(tower).__name__}; learnable context needs another text tower"
    )


def place_context(tower: Tower, endings: Sequence[str], num_context: int) -> tuple[Tensor, int]:
    """Token ids of ``[V1] ... [Vn] ending`` for each ending, and the position of [V1].

    Args:
        tower: Tokenizes.
        endings: N texts that follow the context.
        num_context: n >= 1.

    Returns:
        (N, T) int64 ids with placeholders from ``start`` to ``start + n``, and ``start``.

    Raises:
        ValueError: As ``find_tokens``.
    """
    context = " ".join([TOKEN] * num_context)
    ids, positions = find_tokens(tower, [f"{context} {ending}" for ending in endings])
    return ids, int(positions[0, 0])


def encode_with_context(
    tower: Tower, ids: Tensor, start: int, context: Tensor, layer_hook: LayerHook | None = None
) -> Tensor:
    """(N, D) text embeddings, not normalised; differentiable in the context.

    Args:
        tower: Encodes.
        ids: (N, T) int64 of ``place_context``.
        start: Position of the first learnable token.
        context: (N, n, W) float, or (1, n, W) for all texts alike.
        layer_hook: What ``Tower.encode_embeddings`` calls before each layer.
    """
    words = tower.embed_tokens(ids)
    learnt = context.to(words).expand(len(ids), -1, -1)
    end = start + learnt.shape[1]
    embeddings = torch.cat([words[:, :start], learnt, words[:, end:]], dim=1)
    return tower.encode_embeddings(embeddings, ids, layer_hook)


def encode_with_tokens(tower: Tower, ids: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
    """(N, D) text embeddings, not normalised; differentiable in the tokens.

    Args:
        tower: Encodes.
        ids: (N, T) int64 of ``find_tokens``.
        positions: (N, n) int64, likewise.
        tokens: (N, n, W) float, or (1, n, W) for all texts alike.
    """
    words = tower.embed_tokens(ids)
    learnt = tokens.to(words).expand(len(ids), -1, -1)
    rows = positions[..., None].expand_as(learnt)
    return tower.encode_embeddings(words.scatter(1, rows, learnt), ids)


def count_text_layers(tower: Tower, ids: Tensor) -> int:
    """How many layers of the text tower call a hook.

    Raises:
        ValueError: If the tower takes no hook.
    """
    seen = []

    def look(layer: int, states: Tensor) -> Tensor:
        seen.append(layer)
        return states

    with torch.no_grad():
        tower.encode_embeddings(tower.embed_tokens(ids), ids, look)
    return len(seen)


class DeepTokens(nn.Module):
    """Learnable tokens that replace running states of the text tower before its inner layers.

    Before layer i = 1 ... num_layers (the first layer is 0) the states at the first positions of
    the context give way to tokens of that layer; all texts share them.

    Source: MaPLe (Khattak et al., CVPR 2023, arXiv:2210.03117), text side; AnomalyCLIP (Zhou et
    al., ICLR 2024, arXiv:2310.18961).

    Args:
        num_layers: Layers that get tokens of their own.
        num_tokens: Positions that they replace.
        width: W of the text tower.
    """

    def __init__(self, num_layers: int, num_tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = random_tokens(num_layers, num_tokens, width)

    def written_from(self, start: int) -> LayerHook:
        """Hook that writes the tokens over positions ``start`` and following."""
        end = start + self.tokens.shape[1]

        def write(layer: int, states: Tensor) -> Tensor:
            if not 1 <= layer <= len(self.tokens):
                return states
            rows = self.tokens[layer - 1].to(states).expand(len(states), -1, -1)
            return torch.cat([states[:, :start], rows, states[:, end:]], dim=1)

        return write
