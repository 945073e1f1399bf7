"""Which blocks each tower hands to tuning, and what running only some of them would change."""

from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch
from test_open_clip_trunks import CONVNEXT, RESNET, SIGLIP
from tiny_clip import TEXTS, tiny
from torch import nn

from clad.towers.base import Tower
from clad.towers.open_clip import OpenClipTower
from clad.tuning.last_n import LastN

TRUNKS = {"vit": None, "resnet": RESNET, "convnext": CONVNEXT, "siglip": SIGLIP}


def make(trunk: str) -> OpenClipTower:
    changes = {} if TRUNKS[trunk] is None else {"vision_cfg": TRUNKS[trunk]}
    if trunk == "siglip":
        changes["embed_dim"] = 64
    return OpenClipTower({**tiny(), **changes}, "random")


def outputs_of(blocks, call) -> list[torch.Tensor]:
    """What each block gives while ``call`` runs; states of a tuple come first."""
    seen = []
    handles = [
        block.module.register_forward_hook(
            lambda module, args, output: seen.append(
                output[0] if isinstance(output, tuple) else output
            )
        )
        for block in blocks
    ]
    call()
    for handle in handles:
        handle.remove()
    return seen


def expect_honest_blocks(tower: Tower) -> None:
    """Each block runs once, in order, and its states have the width it tells."""
    images = torch.rand(1, 3, *tower.image_size)
    sides = (
        (tower.image_parts().blocks, lambda: tower.encode_image(images)),
        (tower.text_parts().blocks, lambda: tower.encode_text(TEXTS[:1])),
    )
    for blocks, call in sides:
        seen = outputs_of(blocks, call)
        assert len(seen) == len(blocks)
        widths = [states.shape[b.channels_dim] for states, b in zip(seen, blocks, strict=True)]
        assert widths == [block.width for block in blocks]


@pytest.mark.parametrize("trunk", TRUNKS)
def test_blocks_run_once_with_the_width_they_tell(trunk):
    expect_honest_blocks(make(trunk))


@pytest.mark.parametrize(
    ("trunk", "blocks", "final"),
    [
        ("vit", 4, 64 * 2 + 64 * 32),  # norm, projection
        ("resnet", 4, 5 * 512 + 3 * (512**2 + 512) + 512 * 32 + 32),  # positions, q, k, v, c
        ("convnext", 4, None),
        ("siglip", None, None),
    ],
)
def test_number_of_blocks_and_of_final_weights(trunk, blocks, final):
    tower = make(trunk)
    parts = tower.image_parts()
    assert len(parts.blocks) == (blocks or len(tower.model.visual.trunk.blocks))
    if final is not None:
        assert sum(weight.numel() for weight in parts.final) == final
    text = tower.text_parts()
    assert len(text.blocks) == 3
    assert sum(weight.numel() for weight in text.final) == 64 * 2 + 64 * tower.embed_dim


@pytest.mark.parametrize("trunk", TRUNKS)
def test_last_block_and_final_weights_decide_the_image_vector(trunk):
    tower = make(trunk)
    LastN(image_blocks=1, text_blocks=1).apply(tower)
    tower.encode_image(torch.rand(1, 3, *tower.image_size)).pooled.sum().backward()
    tower.encode_text(TEXTS[:1]).sum().backward()
    without = {n for n, p in tower.named_parameters() if p.requires_grad and p.grad is None}
    assert not without
    first = tower.image_parts().blocks[0].module
    assert all(weight.grad is None for weight in first.parameters())


def test_text_weights_are_those_that_text_needs():
    for tower in (make("vit"), make("convnext"), FakeTower()):
        text = {id(weight) for weight in tower.text_parameters()}
        tower.requires_grad_(True)
        tower.encode_text(TEXTS[:1]).sum().backward()
        used = {id(p) for p in tower.parameters() if p.grad is not None}
        tower.zero_grad()
        tower.encode_pixels(torch.rand(1, 3, *tower.image_size)).tokens[-1].sum().backward()
        seen = {id(p) for p in tower.parameters() if p.grad is not None}
        assert used <= text
        assert not text & seen


class Halved(nn.Module):
    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return pooled[:, :32] / 2


def test_text_projection_can_be_replaced():
    tower = make("vit")
    text = tower.model
    ids = tower.tokenize(TEXTS[:1])
    seen = []
    handle = text.ln_final.register_forward_hook(lambda m, a, output: seen.append(output))
    tower.replace_text_projection(Halved())
    embedding = tower.encode_text(TEXTS[:1])
    handle.remove()
    torch.testing.assert_close(embedding, seen[0][:, ids.shape[1] - 1, :32] / 2)
    assert "model.text_projection" not in dict(tower.named_parameters())


class Opaque(FakeTower):
    image_parts = Tower.image_parts
    text_parts = Tower.text_parts
    text_parameters = Tower.text_parameters
    replace_text_projection = Tower.replace_text_projection


def test_a_tower_without_blocks_says_what_to_use_instead():
    tower = Opaque()
    with pytest.raises(ValueError, match=r"blocks of its image encoder, got Opaque; use conf"):
        tower.image_parts()
    with pytest.raises(ValueError, match="blocks of its text encoder, got Opaque; tune its image"):
        tower.text_parts()
    with pytest.raises(ValueError, match="whose text projection can be replaced, got Opaque; set"):
        tower.replace_text_projection(nn.Identity())
    assert len(list(tower.text_parameters())) == len(list(tower.parameters()))
    assert tower.encode_image(fake_batch().images).is_aligned


@pytest.mark.weights
def test_offline_tower_hands_out_its_blocks():
    from clad.towers.offline import OfflineTower

    tower = OfflineTower(64)
    expect_honest_blocks(tower)
    parts = tower.image_parts()
    assert len(parts.blocks) == 16
    assert sum(weight.numel() for weight in parts.final) == 320 * 1280 + 2 * 1280
    assert len(tower.text_parts().blocks) == 6
    LastN(image_blocks=2, text_blocks=1).apply(tower)
    tower.train()
    running = [m.training for m in tower.modules() if isinstance(m, nn.BatchNorm2d)]
    assert running == [False] * (len(running) - 7) + [True] * 7  # 2 x 3 and the final one
    before = tower.encode_text(TEXTS[:1])
    tower.replace_text_projection(nn.Linear(384, 384, bias=False).requires_grad_(False))
    after = tower.encode_text(TEXTS[:1])
    assert not torch.allclose(before, after)
