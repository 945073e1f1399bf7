from __future__ import annotations

import builtins
import math

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch import nn

from clad.towers.attention import vv_attention
from clad.towers.open_clip import OpenClipTower
from clad.tuning.lora import Lora
from clad.tuning.low_rank import LowRankUpdate, update_attention

CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}


def learning(tower) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in tower.named_parameters() if weight.requires_grad}


def stirred(tower) -> None:
    """Factors as after some training."""
    torch.manual_seed(3)
    for weight in learning(tower).values():
        nn.init.normal_(weight, std=0.2)


def test_update_is_the_product_of_its_factors_by_hand():
    update = LowRankUpdate(torch.zeros(3, 2), rank=1, alpha=4.0)
    update.lora_A.data = torch.tensor([[1.0, 2.0]])
    update.lora_B.data = torch.tensor([[1.0], [0.0], [-1.0]])
    weight = torch.ones(3, 2)
    expected = torch.tensor([[5.0, 9.0], [1.0, 1.0], [-3.0, -7.0]])
    assert torch.equal(update(weight), expected)


@pytest.mark.parametrize("make", [FakeTower, lambda: OpenClipTower(CLIP, "random")])
def test_nothing_changes_at_the_start(make):
    plain, tower = make(), make()
    Lora(rank=2).apply(tower)
    images = fake_batch().images
    for before, after in zip(
        plain.encode_image(images).tokens, tower.encode_image(images).tokens, strict=True
    ):
        torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        tower.encode_text(["a nut"]), plain.encode_text(["a nut"]), atol=1e-6, rtol=0
    )


def test_number_of_weights_by_hand():
    """Rank 4, width 64; per block: 3 x 64 and 64 rows of attention, 4 x 64 rows and columns."""
    tower = OpenClipTower(CLIP, "random")
    Lora(rank=4).apply(tower)
    block = 4 * ((192 + 64) + (64 + 64) + (256 + 64) + (64 + 256))
    assert sum(weight.numel() for weight in learning(tower).values()) == (4 + 3) * block
    fake = FakeTower()
    Lora(rank=2, text=False).apply(fake)
    # A reads 8 x 8 pixels of 3 channels; 2 x 2 of 8; then one of 12, five times.
    expected = 2 * (3 * 64 + 8) + 2 * (8 * 4 + 12) + 5 * 2 * (12 + 12)
    assert sum(weight.numel() for weight in learning(fake).values()) == expected


def test_layers_and_sides_can_be_chosen():
    tower = OpenClipTower(CLIP, "random")
    Lora(rank=1, text=False, layers=("attn", "mlp.c_proj")).apply(tower)
    ends = {name.split("resblocks.")[1].split(".", 1)[1] for name in learning(tower)}
    assert ends == {
        "attn.parametrizations.in_proj_weight.0.lora_A",
        "attn.parametrizations.in_proj_weight.0.lora_B",
        "attn.out_proj.parametrizations.weight.0.lora_A",
        "attn.out_proj.parametrizations.weight.0.lora_B",
        "mlp.c_proj.lora_A.default.weight",
        "mlp.c_proj.lora_B.default.weight",
    }
    assert all(name.startswith("model.visual.") for name in learning(tower))


def test_a_block_equals_one_with_merged_matrices():
    """Slow reference: W + (alpha / rank) B A written into an ordinary block."""
    plain, tower = OpenClipTower(CLIP, "random"), OpenClipTower(CLIP, "random")
    Lora(rank=2, alpha=6.0).apply(tower)
    stirred(tower)
    merged = plain.model.visual.transformer.resblocks[1]
    tuned = tower.model.visual.transformer.resblocks[1]
    with torch.no_grad():
        for target, factors in (
            (merged.attn.in_proj_weight, tuned.attn.parametrizations.in_proj_weight[0]),
            (merged.attn.out_proj.weight, tuned.attn.out_proj.parametrizations.weight[0]),
        ):
            target += 3.0 * factors.lora_B @ factors.lora_A
        for name in ("c_fc", "c_proj"):
            layer = getattr(tuned.mlp, name)
            product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            getattr(merged.mlp, name).weight += 3.0 * product
    states = torch.randn(2, 5, 64)
    torch.testing.assert_close(tuned(states), merged(states))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frozen_matrices_keep_every_bit_through_many_calls(precision):
    """The library's own wrapper of this attention adds and subtracts, and drifts."""
    tower = OpenClipTower(CLIP, "random", precision=precision)
    Lora(rank=2).apply(tower)
    stirred(tower)
    frozen = {n: w.clone() for n, w in tower.named_parameters() if not w.requires_grad}
    images = torch.rand(1, 3, 32, 32)
    tower.train()
    for _ in range(20):
        tower.encode_image(images).pooled.sum().backward()
    for name, before in frozen.items():
        assert torch.equal(tower.get_parameter(name), before), name
    assert {weight.dtype for weight in learning(tower).values()} == {torch.float32}


def test_attention_among_values_sees_the_update():
    attention = nn.MultiheadAttention(8, 2, batch_first=True).requires_grad_(False)
    update_attention(attention, rank=2, alpha=2.0)
    for name, weight in attention.named_parameters():
        if "lora" in name:
            nn.init.normal_(weight)
    joint = attention.parametrizations["in_proj_weight"]
    out = attention.out_proj.parametrizations["weight"]
    tokens = torch.randn(1, 4, 8)
    found = vv_attention(
        tokens, attention.in_proj_weight, None, attention.out_proj.weight, None, num_heads=2
    )
    # By the formula, head by head.
    values = tokens[0] @ (joint.original + joint[0].lora_B @ joint[0].lora_A)[16:].T
    heads = [torch.softmax(v @ v.T / math.sqrt(4), dim=-1) @ v for v in values.split(4, dim=1)]
    weight = out.original + out[0].lora_B @ out[0].lora_A
    torch.testing.assert_close(found[0], torch.cat(heads, dim=1) @ weight.T)
    found.sum().backward()
    assert joint[0].lora_A.grad.any()


def test_patches_of_the_value_path_follow_the_update():
    tower = OpenClipTower(CLIP, "random", vv_from_layer=3, layers=(4,))
    Lora(rank=2, layers=("attn",), text=False).apply(tower)
    pixels = torch.rand(1, 3, 32, 32)
    before = tower.encode_pixels(pixels)
    last = tower.model.visual.transformer.resblocks[3].attn.parametrizations["in_proj_weight"][0]
    nn.init.normal_(last.lora_B)
    after = tower.encode_pixels(pixels)
    assert not torch.allclose(after.patches[0], before.patches[0], atol=1e-3)


def test_dropout_works_in_training_only():
    tower = FakeTower()
    Lora(rank=2, dropout=0.5, text=False).apply(tower)
    stirred(tower)
    images = fake_batch().images
    tower.train()
    first, second = (tower.encode_image(images).tokens[1] for _ in range(2))
    assert not torch.equal(first, second)
    tower.eval()
    first, second = (tower.encode_image(images).tokens[1] for _ in range(2))
    assert torch.equal(first, second)


class Grouped(FakeTower):
    def __init__(self) -> None:
        super().__init__()
        self.refinements[4] = nn.Conv2d(12, 12, 1, groups=12)
        self.freeze()


def test_grouped_convolutions_are_left_alone():
    tower = Grouped()
    Lora(rank=1, text=False).apply(tower)
    assert not any(name.startswith("refinements.4") for name in learning(tower))
    with pytest.raises(ValueError, match=r"got \['refinements.4'\]; module names there end in 0"):
        Lora(text=False, layers=("refinements.4",)).apply(Grouped())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, r"expected rank in \[1, 4096\], got 0"),
        ({"alpha": 0.0}, r"expected alpha in"),
        ({"dropout": 1.0}, r"expected dropout in \[0, 0.99\], got 1.0"),
        ({"image": False, "text": False}, "expected image or text to learn, got neither"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Lora(**settings)


def test_an_unknown_layer_is_refused_with_those_that_are_there():
    with pytest.raises(ValueError, match=r"got \['qkv'\]; module names there end in attn, c_fc, "):
        Lora(layers=("attn", "qkv")).apply(OpenClipTower(CLIP, "random"))


def test_a_missing_library_is_told_with_the_command(monkeypatch):
    imported = builtins.__import__

    def without_peft(name, *args, **kwargs):
        if name == "peft":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_peft)
    with pytest.raises(ImportError, match=r"pip install 'clad-anomaly\[tuning\]'"):
        Lora().apply(FakeTower())


@pytest.mark.weights
def test_offline_tower_learns_by_low_rank():
    from clad.towers.offline import OfflineTower

    plain, tower = OfflineTower(64), OfflineTower(64)
    Lora(rank=2, layers=("conv_pw", "query", "value")).apply(tower)
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(
        tower.encode_image(images).summary, plain.encode_image(images).summary
    )
    torch.testing.assert_close(tower.encode_text(["a nut"]), plain.encode_text(["a nut"]))
    text = [w.numel() for n, w in learning(tower).items() if n.startswith("text_model")]
    assert sum(text) == 6 * 2 * 2 * (384 + 384)
    tower.train()
    (tower.encode_image(images).summary.sum() + tower.encode_text(["a nut"]).sum()).backward()
    moved = {n for n, w in learning(tower).items() if w.grad is not None and "lora_B" in n}
    assert len(moved) == len(learning(tower)) / 2
    running = [m.running_mean for m in tower.modules() if isinstance(m, nn.BatchNorm2d)]
    loaded = [m.running_mean for m in plain.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(a, b) for a, b in zip(running, loaded, strict=True))
