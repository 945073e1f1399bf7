from __future__ import annotations

from collections import OrderedDict

import open_clip
import pytest
import torch
from fakes import VOCABULARY, FakeTower
from torch import nn

from clad.prompts.object_agnostic import ObjectAgnostic, read_released_prompts

WIDTH = 12
"""Of the fake tower's words."""


class WideTower(FakeTower):
    """With as many text layers, of the same width, as CLIP ViT-L/14@336."""

    def __init__(self) -> None:
        super().__init__()
        width, layers = 768, 12
        self.words = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(torch.zeros(77, width))
        self.text_layers = nn.ModuleList([nn.Identity() for _ in range(layers)])
        self.text_projection = nn.Linear(width, self.embed_dim)
        self.freeze()


def attached(tower=None, **settings) -> ObjectAgnostic:
    strategy = ObjectAgnostic(**settings)
    strategy.attach(tower or FakeTower())
    return strategy


def released(num_context=12, num_layers=8, num_deep=4, width=WIDTH) -> dict:
    """The names and shapes of a file that AnomalyCLIP's training writes."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(shape, generator=generator).half()

    state = OrderedDict()
    state["ctx_pos"] = draw(1, 1, num_context, width)
    state["ctx_neg"] = draw(1, 1, num_context, width)
    state["token_prefix_pos"] = draw(1, 1, 1, width)
    state["token_suffix_pos"] = draw(1, 1, 76 - num_context, width)
    state["token_prefix_neg"] = draw(1, 1, 1, width)
    state["token_suffix_neg"] = draw(1, 1, 76 - num_context, width)
    state["tokenized_prompts_pos"] = torch.zeros(1, 1, 77, dtype=torch.int32)
    state["tokenized_prompts_neg"] = torch.zeros(1, 1, 77, dtype=torch.int32)
    for layer in range(num_layers):
        state[f"compound_prompts_text.{layer}"] = draw(num_deep, width)
    for layer in range(num_layers):
        state[f"compound_prompt_projections.{layer}.weight"] = draw(7, width)
        state[f"compound_prompt_projections.{layer}.bias"] = draw(7)
    return {"prompt_learner": state}


def test_clip_l_14_336_learns_43008_numbers() -> None:
    """24 context tokens and 8 x 4 deep ones of width 768; nothing else."""
    text = open_clip.get_model_config("ViT-L-14-336-quickgelu")["text_cfg"]
    assert (text["width"], text["layers"]) == (768, 12)
    strategy = attached(WideTower())
    shapes = {name: tuple(p.shape) for name, p in strategy.named_parameters()}
    assert shapes == {"context": (2, 12, 768), "deep.tokens": (8, 4, 768)}
    count = sum(p.numel() for p in strategy.parameters() if p.requires_grad)
    assert count == 2 * 12 * 768 + 8 * 4 * 768 == 43_008


def test_class_names_are_never_read() -> None:
    tower, strategy = FakeTower(), attached()
    pairs = strategy(("metal_nut", "tile", "never_heard_of"), tower).embeddings
    assert torch.equal(pairs[0], pairs[1])
    assert torch.equal(pairs[0], pairs[2])
    assert torch.equal(strategy(("hazelnut",), tower).embeddings[0], pairs[0])


def test_the_two_sentences_share_deep_tokens_but_not_the_context() -> None:
    tower, strategy = FakeTower(), attached()
    before = strategy(("a",), tower).embeddings[0].detach()

    def changed(parameter, rows) -> list[bool]:
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter[rows] += 1
        after = strategy(("a",), tower).embeddings[0].detach()
        parameter.data.copy_(kept)
        return [not torch.allclose(a, b) for a, b in zip(after, before, strict=True)]

    assert changed(strategy.context, 0) == [True, False]
    assert changed(strategy.context, 1) == [False, True]
    for layer in range(8):
        assert changed(strategy.deep.tokens, layer) == [True, True], layer


def test_every_layer_up_to_the_depth_learns() -> None:
    tower, strategy = FakeTower(), attached()
    (strategy(("a",), tower).embeddings[0] * torch.randn(2, 16)).sum().backward()
    assert strategy.context.grad.abs().sum((1, 2)).min() > 0
    assert strategy.deep.tokens.grad.abs().sum((1, 2)).min() > 0


def test_depth_one_has_no_deep_tokens() -> None:
    strategy = attached(depth=1)
    assert [name for name, _ in strategy.named_parameters()] == ["context"]
    assert strategy(("a",), FakeTower()).embeddings.shape == (1, 2, 16)


def test_the_text_tower_may_be_too_shallow() -> None:
    with pytest.raises(
        ValueError, match="at least 10 layers for deep tokens, got 9 in FakeTower; set depth to 9"
    ):
        attached(depth=10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_context": 0}, r"expected num_context in \[1, 1000\], got 0"),
        ({"depth": 0}, r"expected depth in \[1, 1000\], got 0"),
        ({"num_deep_tokens": 13}, r"expected num_deep_tokens in \[1, 12\], got 13"),
        ({"num_deep_tokens": 0}, r"expected num_deep_tokens in \[1, 12\], got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectAgnostic(**settings)


def test_checkpoints_hold_the_tokens_alone() -> None:
    assert set(attached().state_dict()) == {"context", "deep.tokens"}


class TestReleasedWeights:
    def test_tokens_are_those_of_the_file(self, tmp_path):
        path = tmp_path / "epoch_15.pth"
        content = released()
        torch.save(content, path)
        strategy = attached(weights=path)
        state = content["prompt_learner"]
        assert torch.equal(strategy.context[0], state["ctx_pos"][0, 0].float())
        assert torch.equal(strategy.context[1], state["ctx_neg"][0, 0].float())
        for layer in range(8):
            expected = state[f"compound_prompts_text.{layer}"].float()
            assert torch.equal(strategy.deep.tokens[layer], expected)
        assert all(p.requires_grad and p.dtype == torch.float32 for p in strategy.parameters())

    def test_a_file_without_deep_tokens_fits_depth_one(self, tmp_path):
        path = tmp_path / "flat.pth"
        torch.save(released(num_layers=0), path)
        assert read_released_prompts(path)[1].numel() == 0
        assert attached(depth=1, weights=path).deep is None

    @pytest.mark.parametrize(
        "of_file", [{"num_layers": 3}, {"num_deep": 2}, {"num_context": 4}, {"width": 16}]
    )
    def test_other_shapes_are_refused_with_both(self, tmp_path, of_file):
        path = tmp_path / "other.pth"
        torch.save(released(**of_file), path)
        with pytest.raises(
            ValueError, match=r"of shapes \[\(2, 12, 12\), \(8, 4, 12\)\], got .* in .*other.pth"
        ):
            attached(weights=path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"prompt_learner": {"ctx_pos": torch.zeros(1)}}, "with ctx_pos and ctx_neg in"),
            ({"state_dict": {}}, "expected prompt_learner with ctx_pos"),
            (torch.zeros(3), "expected prompt_learner with ctx_pos"),
            (
                {"prompt_learner": {"ctx_pos": torch.zeros(3), "ctx_neg": torch.zeros(3)}},
                r"expected ctx_pos in .* of shape \(1, 1, 'any', 'any'\), got \(3,\)",
            ),
        ],
    )
    def test_other_contents_are_refused(self, tmp_path, content, message):
        path = tmp_path / "x.pth"
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            attached(weights=path)

    def test_a_missing_or_damaged_file_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"expected trained prompts at .*no.pth"):
            attached(weights=tmp_path / "no.pth")
        damaged = tmp_path / "damaged.pth"
        damaged.write_bytes(b"not a file of tensors")
        with pytest.raises(ValueError, match=r"expected tensors only in .*damaged.pth"):
            attached(weights=damaged)
