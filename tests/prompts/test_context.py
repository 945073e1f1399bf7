from __future__ import annotations

import open_clip
import pytest
import torch
from fakes import VOCABULARY, FakeTower
from torch import nn
from torch.nn import functional

from clad.prompts.context import Context
from clad.towers.open_clip import OpenClipTower

CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}


@pytest.fixture(scope="module")
def clip():
    return OpenClipTower(CLIP, "random")


def attached(tower, **settings) -> Context:
    strategy = Context(**settings)
    strategy.attach(tower)
    return strategy


class WideTower(FakeTower):
    """With words as wide as those of CLIP ViT-L/14."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 768)


@pytest.mark.parametrize(("shared", "count"), [(True, 12_288), (False, 24_576)])
def test_clip_l_14_learns_16_vectors_of_768(shared, count) -> None:
    assert open_clip.get_model_config("ViT-L-14")["text_cfg"]["width"] == 768
    strategy = attached(WideTower(), shared=shared)
    assert sum(p.numel() for p in strategy.parameters() if p.requires_grad) == count
    assert [name for name, _ in strategy.state_dict().items()] == ["context"]
    assert strategy.context.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("position", "sentences"),
    [
        ("front", ("real a b c .", "fake a b c .")),
        ("middle", ("a real b c .", "a fake b c .")),
        ("end", ("a b c real .", "a b c fake .")),
    ],
)
def test_words_in_place_of_the_tokens_give_the_sentence(clip, position, sentences) -> None:
    strategy = attached(clip, num_context=3, word_position=position)
    with torch.no_grad():
        # Behind the start token, one token per letter.
        strategy.context[0] = clip.embed_tokens(clip.tokenize(["a b c"]))[0, 1:4]
    found = strategy(("x", "y"), clip).embeddings
    expected = functional.normalize(clip.encode_text(sentences), dim=-1)
    torch.testing.assert_close(found[0], expected)
    assert torch.equal(found[0], found[1])


def test_front_is_start_word_tokens_stop_end(clip) -> None:
    """The order of CLIPping the Deception, id by id."""
    strategy = attached(clip)
    ids, positions = strategy._find(strategy._sentences(("",)), clip)
    real, fake, stop = (clip.tokenize([word])[0, 1] for word in ("real", "fake", "."))
    assert positions.tolist() == [list(range(2, 18))] * 2
    assert ids[:, 1].tolist() == [real, fake]
    assert ids[:, 18].tolist() == [stop, stop]
    assert ids.shape == (2, 20)
    assert ids.argmax(1).tolist() == [19, 19]  # CLIP reads the embedding at the end token


def test_shared_tokens_move_both_sentences_and_own_ones_one(clip) -> None:
    for shared, moved in ((True, [True, True]), (False, [False, True])):
        strategy = attached(clip, num_context=2, shared=shared)
        before = strategy(("a",), clip).embeddings[0].detach()
        with torch.no_grad():
            strategy.context[-1] += torch.randn(2, 16)
        after = strategy(("a",), clip).embeddings[0].detach()
        assert [not torch.allclose(a, b) for a, b in zip(after, before, strict=True)] == moved


def test_class_names_are_filled_in_where_the_words_ask_for_them(clip, tmp_path) -> None:
    strategy = attached(clip, num_context=1, normal="real {}", anomalous="fake {}", shared=False)
    found = strategy(("metal_nut", "face"), clip).embeddings
    assert not torch.allclose(found[0], found[1])
    torch.testing.assert_close(strategy(("face",), clip).embeddings[0], found[1])
    with torch.no_grad():
        for row, letter in enumerate("ab"):
            strategy.context[row, 0] = clip.embed_tokens(clip.tokenize([letter]))[0, 1]
    sentences = ["real metal nut a .", "fake metal nut b ."]
    expected = functional.normalize(clip.encode_text(sentences), dim=-1)
    torch.testing.assert_close(strategy(("metal_nut",), clip).embeddings[0], expected)
    own = tmp_path / "own.yaml"
    own.write_text("categories: {face: {class_name: portrait}}")
    other = attached(clip, normal="real {}", anomalous="fake {}", words=own)
    assert "real portrait" in other._sentences(("portrait",))[0]
    assert not torch.allclose(other(("face",), clip).embeddings, found[1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_context": 0}, r"expected num_context in \[1, 1000\], got 0"),
        ({"word_position": "back"}, "expected word_position to be one of end, front, middle"),
        ({"normal": "fake"}, "expected two different words, got normal='fake'"),
        ({"anomalous": " "}, "expected two different words"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Context(**settings)


def test_a_context_too_long_is_refused(clip) -> None:
    with pytest.raises(ValueError, match=r"expected room for 75 learnable tokens .*lower num_cont"):
        attached(clip, num_context=75)
    assert attached(clip, num_context=73)
