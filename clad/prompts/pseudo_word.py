"""A word of a sentence that is a vector instead of an entry of the vocabulary.

Letters in shapes: B texts, T tokens, W width of the text tower, D the shared embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clad.prompts.base import TEXTS_PER_CALL
from clad.towers.base import Tower

_PLACEHOLDERS = ("x", "z")
"""Words that hold the place; one token each in any common vocabulary."""


def place_word(tower: Tower, sentence: str, slot: str) -> tuple[Tensor, int]:
    """Token ids of a sentence with a placeholder for ``slot``, and the position of that token.

    The position is found by exchanging the placeholder, so any tokenizer will do that spends one
    token on a letter.

    Args:
        tower: Tokenizes.
        sentence: Holds ``slot`` once.
        slot: Stands for the word, e.g. ``[FE]``.

    Returns:
        (1, T) int64 ids, and the position.

    Raises:
        ValueError: If the slot does not occur once, or a letter is not one token.
    """
    if sentence.count(slot) != 1:
        raise ValueError(f"expected {slot} once, got {sentence!r}; one face gives one word")
    ids, others = (tower.tokenize([sentence.replace(slot, word)]) for word in _PLACEHOLDERS)
    if ids.shape == others.shape:
        places = (ids != others)[0].nonzero().flatten().tolist()
        if len(places) == 1:
            return ids, places[0]
    raise ValueError(
        f"expected one token for {slot} in {sentence!r}, got other ids from the tokenizer of "
        f"{type(tower).__name__}; put blanks around it, or use another text tower"
    )


def encode_with_word(tower: Tower, ids: Tensor, position: int, words: Tensor) -> Tensor:
    """(B, D) embeddings of one sentence with B different words in it, not normalised.

    The row of the placeholder is replaced before positions are added; where the text ends is read
    from ``ids`` and does not move.

    Args:
        tower: Encodes; there is a graph only where its text side or the words have one.
        ids: (1, T) int64 of ``place_word``.
        position: Likewise.
        words: (B, W) float.
    """
    learns = words.requires_grad or any(p.requires_grad for p in tower.text_parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
        rows_1TW = tower.embed_tokens(ids)
        before, after = rows_1TW[:, :position], rows_1TW[:, position + 1 :]
        parts = []
        for some_BW in words.to(rows_1TW.dtype).split(TEXTS_PER_CALL):
            count = len(some_BW)
            spoken = (before.expand(count, -1, -1), some_BW[:, None], after.expand(count, -1, -1))
            parts.append(tower.encode_embeddings(torch.cat(spoken, 1), ids.expand(count, -1)))
        return torch.cat(parts)
