from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch import nn

from clad.towers.base import Block, EncoderParts
from clad.tuning.last_n import LastN


def learning(tower) -> set[str]:
    return {name for name, value in tower.named_parameters() if value.requires_grad}


class NormedTower(FakeTower):
    """A block before the last one has running statistics and dropout; so has the last."""

    def __init__(self) -> None:
        super().__init__()
        self.refinements = nn.ModuleList()
        for index, width in enumerate((8, 12)):
            block = nn.Sequential(self.convolutions[index], nn.BatchNorm2d(width), nn.Dropout(0.5))
            self.convolutions[index] = block
        self.freeze()

    def image_parts(self) -> EncoderParts:
        widths = zip(self.convolutions, (8, 12), strict=True)
        blocks = (Block(block, width, 1) for block, width in widths)
        return EncoderParts(tuple(blocks), ())


def test_only_the_last_blocks_and_what_follows_them_learn():
    tower = FakeTower()
    LastN(image_blocks=1, text_blocks=2).apply(tower)
    assert learning(tower) == {
        "refinements.4.weight",
        "refinements.4.bias",
        "projections.0.weight",
        "projections.0.bias",
        "projections.1.weight",
        "projections.1.bias",
        "text_layers.7.weight",
        "text_layers.7.bias",
        "text_layers.8.weight",
        "text_layers.8.bias",
        "text_projection.weight",
        "text_projection.bias",
    }


def test_a_side_of_no_blocks_stays_frozen_and_the_final_weights_are_optional():
    tower = FakeTower()
    LastN(image_blocks=0, text_blocks=1, final=False).apply(tower)
    assert learning(tower) == {"text_layers.8.weight", "text_layers.8.bias"}
    LastN(image_blocks=2, final=False).apply(tower)
    assert learning(tower) == {f"refinements.{n}.{w}" for n in (3, 4) for w in ("weight", "bias")}


def test_gradient_reaches_the_last_block_and_none_before_it():
    tower = FakeTower()
    LastN(image_blocks=1).apply(tower)
    tower.encode_image(fake_batch().images).pooled.sum().backward()
    assert tower.refinements[4].weight.grad.any()
    assert tower.refinements[3].weight.grad is None


def test_statistics_and_dropout_rest_in_the_frozen_part_and_work_in_the_other():
    tower = NormedTower()
    LastN(image_blocks=1).apply(tower)
    tower.train()
    first, last = tower.convolutions
    assert (first[0].training, first[1].training, first[2].training) == (False,) * 3
    # Dropout has no weights: it goes with the block that holds it.
    assert (last[0].training, last[1].training, last[2].training) == (True,) * 3
    before = {name: value.clone() for name, value in tower.named_buffers()}
    tower.encode_image(fake_batch().images)
    moved = {n for n, value in tower.named_buffers() if not torch.equal(value, before[n])}
    assert moved == {
        f"convolutions.1.1.{name}"
        for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert not any(module.training for module in tower.eval().modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_blocks": 0}, "expected a number of last blocks >= 0 and one of them >= 1, got"),
        ({"image_blocks": -1, "text_blocks": 2}, "got image_blocks -1 and text_blocks 2"),
    ],
)
def test_none_at_all_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LastN(**settings)


def test_more_blocks_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"expected image_blocks of at most 7, .* got 8; lower it"):
        LastN(image_blocks=8).apply(FakeTower())
    with pytest.raises(ValueError, match=r"expected text_blocks of at most 9, .* got 10; lower it"):
        LastN(text_blocks=10).apply(FakeTower())
