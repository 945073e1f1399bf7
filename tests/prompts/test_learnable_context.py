"""Where learnable tokens go, on towers that begin with a start token and on one that does not."""

from __future__ import annotations

import pytest
import torch
from fakes import TEXT_LAYERS, FakeTower

from clad.prompts.learnable_context import (
    DeepTokens,
    count_text_layers,
    encode_with_context,
    encode_with_tokens,
    find_tokens,
    place_context,
    random_tokens,
)
from clad.towers.open_clip import OpenClipTower

CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}
ENDINGS = ("object.", "damaged object.")


@pytest.fixture(scope="module")
def clip():
    return OpenClipTower(CLIP, "random")


class TestPlaceContext:
    def test_clip_has_a_start_token_before_it(self, clip):
        ids, start = place_context(clip, ENDINGS, 12)
        assert start == 1
        expected = clip.tokenize([f"{'X ' * 12}{ending}" for ending in ENDINGS])
        assert torch.equal(ids, expected)
        # Start, 12 placeholders, (damaged) object and the full stop, end.
        assert ids.shape == (2, 17)
        assert ids.argmax(1).tolist() == [15, 16]

    def test_a_tower_without_start_token_begins_with_it(self):
        assert place_context(FakeTower(), ENDINGS, 3)[1] == 0

    def test_a_context_too_long_is_refused_with_what_the_tower_says(self, clip):
        with pytest.raises(
            ValueError,
            match=r"expected room for 73 learnable tokens beside .*'damaged object.'.*"
            r"OpenClipTower says: expected at most 77 tokens, got 78.*; lower num_context",
        ):
            place_context(clip, ENDINGS, 73)
        assert place_context(clip, ENDINGS, 72)[0].shape == (2, 77)

    def test_a_tokenizer_that_splits_or_ignores_letters_is_refused(self, monkeypatch):
        tower = FakeTower()
        whole = tower.tokenize
        for spoilt in (
            lambda texts: whole([text.replace("X", "a b") for text in texts]),
            lambda texts: whole([text.replace("X", "Z") for text in texts]),
        ):
            monkeypatch.setattr(tower, "tokenize", spoilt)
            with pytest.raises(ValueError, match="one token per placeholder 'X', got other ids"):
                place_context(tower, ENDINGS, 2)


class TestEncodeWithContext:
    @pytest.mark.parametrize("kind", ["clip", "fake"])
    def test_words_as_context_give_the_sentence(self, clip, kind):
        tower = clip if kind == "clip" else FakeTower()
        ids, start = place_context(tower, ENDINGS, 3)
        words = tower.embed_tokens(tower.tokenize(["a very good"]))[:, start : start + 3]
        found = encode_with_context(tower, ids, start, words)
        expected = tower.encode_text([f"a very good {ending}" for ending in ENDINGS])
        torch.testing.assert_close(found, expected)

    def test_each_text_reads_its_own_context(self, clip):
        ids, start = place_context(clip, ENDINGS, 3)
        context = random_tokens(2, 3, 16)
        together = encode_with_context(clip, ids, start, context)
        alone = encode_with_context(clip, ids[1:], start, context[1:])
        torch.testing.assert_close(together[1:], alone)
        assert not torch.allclose(together, encode_with_context(clip, ids, start, context[:1]))

    def test_half_precision_tower_takes_single_precision_tokens(self):
        low = OpenClipTower(CLIP, "random", precision="bf16")
        ids, start = place_context(low, ENDINGS, 3)
        context, deep = random_tokens(2, 3, 16), DeepTokens(2, 2, 16)
        found = encode_with_context(low, ids, start, context, deep.written_from(start))
        assert found.dtype == torch.float32
        found.sum().backward()
        assert context.grad.dtype == deep.tokens.grad.dtype == torch.float32


class TestTokensAnywhere:
    def test_words_of_other_lengths_move_them_row_by_row(self, clip):
        ids, positions = find_tokens(clip, ["real [V] [V] .", "very fake [V] [V] ."])
        assert positions.tolist() == [[2, 3], [3, 4]]
        assert torch.equal(ids, clip.tokenize(["real X X .", "very fake X X ."]))

    def test_they_may_lie_apart(self, clip):
        _, positions = find_tokens(clip, ["[V] real [V] [V] ."])
        assert positions.tolist() == [[1, 3, 4]]
        assert find_tokens(FakeTower(), ["[V] real [V] [V] ."])[1].tolist() == [[0, 2, 3]]

    @pytest.mark.parametrize("kind", ["clip", "fake"])
    def test_words_in_their_place_give_the_sentence(self, clip, kind):
        tower = clip if kind == "clip" else FakeTower()
        ids, positions = find_tokens(tower, ["real [V] [V] .", "very fake [V] [V] ."])
        start = int(positions[0, 0]) - 1
        words = tower.embed_tokens(tower.tokenize(["human face"]))[:, start : start + 2]
        found = encode_with_tokens(tower, ids, positions, words)
        expected = tower.encode_text(["real human face .", "very fake human face ."])
        torch.testing.assert_close(found, expected)

    def test_gradient_reaches_tokens_of_each_text_alone(self, clip):
        ids, positions = find_tokens(clip, ["real [V] .", "very fake [V] ."])
        tokens = random_tokens(2, 1, 16)
        encode_with_tokens(clip, ids, positions, tokens)[1].square().sum().backward()
        assert not tokens.grad[0].any()
        assert tokens.grad[1].any()


class TestDeepTokens:
    def test_inner_layers_read_tokens_of_their_own_and_the_rest_flows_on(self):
        deep = DeepTokens(2, 3, 4)
        write = deep.written_from(1)
        states = torch.randn(2, 7, 4)
        assert write(0, states) is states
        assert write(3, states) is states
        for layer in (1, 2):
            written = write(layer, states)
            expected = states.clone()
            expected[:, 1:4] = deep.tokens[layer - 1].detach()
            assert torch.equal(written.detach(), expected)

    def test_layers_are_counted(self, clip):
        assert count_text_layers(clip, clip.tokenize(["a"])) == 3
        fake = FakeTower()
        assert count_text_layers(fake, fake.tokenize(["a"])) == TEXT_LAYERS


def test_random_tokens_are_normal_with_a_deviation_of_two_hundredths():
    tokens = random_tokens(8, 100, 50)
    assert tokens.requires_grad
    assert tokens.mean().item() == pytest.approx(0, abs=5e-4)
    assert tokens.std().item() == pytest.approx(0.02, rel=0.02)
