"""Texts are cut to the longest of a call; that must change nothing but the time."""

from __future__ import annotations

import open_clip
import pytest
import torch
from tiny_clip import TEXTS, tiny

from clad.prompts.base import TEXTS_PER_CALL, encode_texts
from clad.prompts.learnable_context import DeepTokens, encode_with_context, place_context
from clad.towers.open_clip import OpenClipTower

CONTEXT = 77


@pytest.fixture(scope="module")
def tower():
    return OpenClipTower(tiny(), "random").double()  # so that what differs is no rounding


@pytest.fixture
def lengths(tower):
    """Tokens per text in each call of the last text block."""
    seen = []
    block = tower.model.transformer.resblocks[-1]
    handle = block.register_forward_hook(lambda m, args, output: seen.append(output.shape[1]))
    yield seen
    handle.remove()


def padded(ids):
    return torch.nn.functional.pad(ids, (0, CONTEXT - ids.shape[1]))


def test_words_take_as_many_tokens_as_the_longest_text(tower, lengths):
    short = tower.encode_text(TEXTS)
    ids = open_clip.tokenize(TEXTS)
    long = tower.encode_embeddings(tower.embed_tokens(ids), ids)
    assert lengths == [13, CONTEXT]
    torch.testing.assert_close(short, long, atol=1e-12, rtol=0)


@pytest.mark.parametrize("is_deep", [False, True])
def test_learnt_tokens_take_as_many_too(tower, lengths, is_deep):
    ids, start = place_context(tower, ["object", "damaged object"], num_context=4)
    context = torch.randn(2, 4, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hook = DeepTokens(2, 2, 64).written_from(start) if is_deep else None
    lengths.clear()
    short = encode_with_context(tower, ids, start, context, hook)
    long = encode_with_context(tower, padded(ids), start, context, hook)
    assert lengths == [8, CONTEXT], "start, four learnt ones, two words, end"
    torch.testing.assert_close(short, long, atol=1e-12, rtol=0)


def test_texts_of_one_length_go_together_and_come_back_in_order(tower, lengths):
    brief, lengthy = ["a nut"], ["a photo of a broken metal nut with a deep scratch"]
    texts = (brief + lengthy) * TEXTS_PER_CALL
    found = encode_texts(tower, texts)
    assert lengths == [4, 13]
    torch.testing.assert_close(found[:2], tower.encode_text(texts[:2]), atol=1e-12, rtol=0)
    assert torch.equal(found[::2], found[:1].expand(TEXTS_PER_CALL, -1))


@pytest.mark.weights
def test_minilm_pads_to_the_longest_and_padding_is_not_felt():
    from clad.towers.offline import OfflineTower

    tower = OfflineTower(64)
    seen = []
    layer = tower.text_model.encoder.layer[-1]
    handle = layer.register_forward_pre_hook(lambda m, args: seen.append(args[0].shape[1]))
    alone = tower.encode_text(["a nut"])
    beside = tower.encode_text(["a nut", "a photo of a broken metal nut with a deep scratch"])
    handle.remove()
    assert seen == [4, 13]
    torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=0)
