from __future__ import annotations

import copy

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch import nn

from clad.towers.base import Block, EncoderParts
from clad.towers.open_clip import OpenClipTower
from clad.tuning.residual_adapters import (
    ResidualAdapter,
    ResidualAdapters,
    ResidualProjection,
    blend,
)

CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}


def learning(tower) -> set[str]:
    return {name for name, weight in tower.named_parameters() if weight.requires_grad}


def leaky(value: float) -> float:
    return value if value > 0 else 0.01 * value


def slow_adapter(token: list[float], weight: list[list[float]], share: float) -> list[float]:
    """Token by token, number by number, from the paper's description."""
    adapted = [leaky(sum(w * x for w, x in zip(row, token, strict=True))) for row in weight]
    length = sum(x * x for x in token) ** 0.5
    other = sum(a * a for a in adapted) ** 0.5
    return [
        (1 - share) * x + share * a * length / other for x, a in zip(token, adapted, strict=True)
    ]


def test_blend_by_hand():
    """Length 5 along the first axis, turned to the second: (1 - .1) x and .1 x 5."""
    found = blend(torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 0.25]]), 0.1)
    torch.testing.assert_close(found, torch.tensor([[4.5, 0.5]]))


@pytest.mark.parametrize("channels_dim", [-1, 1])
def test_adapter_matches_plain_loops(channels_dim):
    adapter = ResidualAdapter(6, channels_dim, 0.3).double()
    tokens = torch.randn(2, 5, 6, dtype=torch.float64)
    states = tokens if channels_dim == -1 else tokens.movedim(-1, 1).unflatten(2, (5, 1))
    found = adapter(states)
    assert found.shape == states.shape
    if channels_dim == 1:
        found = found.flatten(2).movedim(1, -1)
    weight = adapter.linear.weight.tolist()
    expected = [[slow_adapter(t, weight, 0.3) for t in image] for image in tokens.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_adapted_part_has_the_length_of_what_it_replaces():
    adapter = ResidualAdapter(16, -1, 1.0)
    states = 7 * torch.randn(3, 4, 16)
    torch.testing.assert_close(adapter(states).norm(dim=-1), states.norm(dim=-1))
    assert torch.equal(ResidualAdapter(16, -1, 0.0)(states), states)


def test_gradient_of_the_adapter():
    adapter = ResidualAdapter(4, -1, 0.5).double()
    states = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)

    def run(states, weight):
        return torch.func.functional_call(adapter, {"linear.weight": weight}, (states,))

    assert torch.autograd.gradcheck(run, (states, adapter.linear.weight))


def test_half_precision_states_keep_their_dtype():
    states = torch.randn(1, 2, 8).bfloat16()
    assert ResidualAdapter(8, -1, 0.1)(states).dtype == torch.bfloat16
    assert ResidualProjection(8, 4)(states[0]).shape == (2, 4)


def test_number_of_weights_by_hand():
    tower = OpenClipTower(CLIP, "random")
    ResidualAdapters(image_blocks=2, text_blocks=3).apply(tower)
    learnt = [w.numel() for w in tower.parameters() if w.requires_grad]
    assert sorted(learnt) == sorted([64 * 64] * 2 + [64 * 64] * 3 + [64 * 32])


def test_number_of_weights_on_vit_l_14():
    """ViT-L/14: 1024 channels for images, 768 for words and for what they share."""

    def count(*modules):
        return sum(weight.numel() for module in modules for weight in module.parameters())

    text = [ResidualAdapter(768, -1, 0.1) for _ in range(3)]
    image = [ResidualAdapter(1024, -1, 0.1) for _ in range(6)]
    assert count(*text, ResidualProjection(768, 768)) == 2_359_296
    assert count(*image) == 6_291_456


def test_image_blocks_are_adapted_one_after_the_other():
    """Slow reference: the encoder's own steps with the formula between them."""
    tower = OpenClipTower(CLIP, "random", layers=(2, 4))
    ResidualAdapters(image_blocks=2, text_blocks=0, text_projection=False, share=0.4).apply(tower)
    plain = OpenClipTower(CLIP, "random", layers=(2, 4))
    pixels = torch.rand(2, 3, 32, 32)
    states = plain.model.visual._embeds(pixels)
    tokens = []
    for index, block in enumerate(plain.model.visual.transformer.resblocks):
        states = block(states)
        if index < 2:
            weight = tower.model.visual.transformer.resblocks[index].residual_adapter.linear.weight
            other = nn.functional.leaky_relu(states @ weight.T, 0.01)
            factor = states.norm(dim=-1, keepdim=True) / other.norm(dim=-1, keepdim=True)
            states = 0.4 * other * factor + 0.6 * states
        if index in (1, 3):
            tokens.append(states[:, 1:])
    found = tower.encode_pixels(pixels)
    for expected, given in zip(tokens, found.tokens, strict=True):
        torch.testing.assert_close(given, expected)
    pooled, _ = plain.model.visual._pool(states)
    pooled = nn.functional.normalize(pooled @ plain.model.visual.proj, dim=-1)
    torch.testing.assert_close(found.pooled, pooled)


def test_text_is_adapted_and_projected():
    tower = OpenClipTower(CLIP, "random")
    ResidualAdapters(image_blocks=0, text_blocks=1, share=0.4).apply(tower)
    plain = OpenClipTower(CLIP, "random").model
    ids = tower.tokenize(["a photo of a broken nut"])
    length = ids.shape[1]
    states = plain.token_embedding(ids) + plain.positional_embedding[:length]
    mask = plain.attn_mask[:length, :length]
    for index, block in enumerate(plain.transformer.resblocks):
        states = block(states, attn_mask=mask)
        if index == 0:
            weight = tower.model.transformer.resblocks[0].residual_adapter.linear.weight
            other = nn.functional.leaky_relu(states @ weight.T, 0.01)
            factor = states.norm(dim=-1, keepdim=True) / other.norm(dim=-1, keepdim=True)
            states = 0.4 * other * factor + 0.6 * states
    last = plain.ln_final(states)[:, -1]
    weight = tower.model.text_projection.residual_projection.weight
    expected = nn.functional.leaky_relu(last @ weight.T, 0.01)
    torch.testing.assert_close(tower.encode_text(["a photo of a broken nut"]), expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"image_learns": False}, {"text_layers.0.residual_adapter.linear.weight"}),
        ({"text_learns": False}, {"convolutions.0.residual_adapter.linear.weight"}),
        ({"image_learns": False, "text_learns": False}, set()),
    ],
)
def test_each_side_learns_or_rests(settings, expected):
    tower = FakeTower()
    tuning = ResidualAdapters(image_blocks=1, text_blocks=1, text_projection=False, **settings)
    tuning.apply(tower)
    assert learning(tower) == expected
    assert {name for name in tower.state_dict() if tuning.is_own(name)} == {
        "text_layers.0.residual_adapter.linear.weight",
        "convolutions.0.residual_adapter.linear.weight",
    }


def test_words_are_known_to_rest_where_only_images_learn():
    tower = OpenClipTower(CLIP, "random")
    ResidualAdapters(image_blocks=2, text_learns=False).apply(tower)
    assert not any(weight.requires_grad for weight in tower.text_parameters())
    ResidualAdapters(image_blocks=0, text_blocks=1, text_projection=False).apply(
        other := OpenClipTower(CLIP, "random")
    )
    assert any(weight.requires_grad for weight in other.text_parameters())


def test_a_copy_of_the_tower_has_its_own_adapters():
    tower = FakeTower()
    ResidualAdapters(image_blocks=1, text_blocks=0, text_projection=False).apply(tower)
    images = fake_batch().images
    before = tower.encode_image(images).tokens[0]
    other = copy.deepcopy(tower)
    nn.init.normal_(other.convolutions[0].residual_adapter.linear.weight)
    assert torch.equal(tower.encode_image(images).tokens[0], before)
    assert not torch.equal(other.encode_image(images).tokens[0], before)


class TupleTower(FakeTower):
    """A block that gives its states with something else, as some libraries' layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Pair()
        self.freeze()

    def text_parts(self) -> EncoderParts:
        return EncoderParts((Block(self.block, 12),), ())


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, states):
        return self.layer(states), "weights"


def test_states_in_a_tuple_are_adapted():
    tower = TupleTower()
    ResidualAdapters(text_blocks=1, text_projection=False).apply(tower)
    states = torch.randn(2, 3, 12)
    found, rest = tower.block(states)
    torch.testing.assert_close(found, tower.block.residual_adapter(tower.block.layer(states)))
    assert rest == "weights"


class SequenceTower(FakeTower):
    def image_parts(self) -> EncoderParts:
        return EncoderParts((Block(nn.Sequential(*self.convolutions), 12, 1),), ())


def test_refusals():
    with pytest.raises(ValueError, match="expected an adapter in some block or a text projection"):
        ResidualAdapters(image_blocks=0, text_blocks=0, text_projection=False)
    with pytest.raises(ValueError, match=r"expected share in \[0, 1\], got 1.5"):
        ResidualAdapters(share=1.5)
    with pytest.raises(ValueError, match=r"expected image_blocks of at most 7, .* got 8; lower it"):
        ResidualAdapters(image_blocks=8).apply(FakeTower())
    with pytest.raises(ValueError, match=r"expected blocks that can hold an adapter, got Seq"):
        ResidualAdapters(image_blocks=1).apply(SequenceTower())


@pytest.mark.weights
def test_offline_tower_takes_adapters():
    from clad.towers.offline import OfflineTower

    tower = OfflineTower(64)
    plain = tower.encode_text(["a nut"])
    ResidualAdapters(image_blocks=6, text_blocks=3).apply(tower)
    learnt = sum(weight.numel() for weight in tower.parameters() if weight.requires_grad)
    widths = (16, 24, 24, 40, 40, 80)
    assert learnt == sum(w * w for w in widths) + 4 * 384 * 384
    features = tower.encode_image(torch.rand(2, 3, 64, 64))
    text = tower.encode_text(["a nut"])
    assert not torch.allclose(text, plain)
    (features.summary.sum() + text.sum()).backward()
    assert all(weight.grad is not None for weight in tower.parameters() if weight.requires_grad)
