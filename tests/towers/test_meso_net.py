"""MesoNet: the published numbers of weights, and its layers by plain functions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from clad.towers.meso_net import MesoNetTower
from clad.tuning.full import Full

OUTPUT_UNIT = 16 + 1


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 3, 64, 32), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize(("variant", "count"), [("meso4", 27977), ("meso_inception4", 28615)])
def test_it_has_as_many_weights_as_published(variant, count):
    tower = MesoNetTower(variant)
    assert sum(p.numel() for p in tower.parameters()) + OUTPUT_UNIT == count


def conv(states, layer, padding, dilation=1):
    return functional.conv2d(states, layer.weight, layer.bias, 1, padding, dilation)


def finish(states, norm, pool):
    rows = functional.batch_norm(
        torch.relu(states), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3
    )
    return functional.max_pool2d(rows, pool)


def spoil(tower):
    """Statistics that differ from those at the start."""
    for number, layer in enumerate(tower.layers):
        layer[2].running_mean += 0.1 * (number + 1)
        layer[2].running_var *= 2


def test_meso4_is_four_convolutions_and_a_hidden_layer(images):
    tower = MesoNetTower("meso4", (64, 32))
    spoil(tower)
    states = images.float() / 255
    maps = []
    for layer, padding, pool in zip(tower.layers, (1, 2, 2, 2), (2, 2, 2, 4), strict=True):
        states = finish(conv(states, layer[0], padding), layer[2], pool)
        maps.append(states)
    features = tower.encode_image(images)
    assert features.grids == ((32, 16), (16, 8), (8, 4), (2, 1))
    for tokens, expected in zip(features.tokens, maps, strict=True):
        torch.testing.assert_close(tokens, expected.flatten(2).mT, atol=1e-5, rtol=1e-4)
    flat = states.flatten(1) @ tower.hidden.weight.T + tower.hidden.bias
    expected = torch.where(flat > 0, flat, 0.1 * flat)
    torch.testing.assert_close(features.summary, expected, atol=1e-5, rtol=1e-4)


def test_the_first_layer_of_meso_inception_looks_at_four_widths(images):
    tower = MesoNetTower("meso_inception4", (64, 32))
    spoil(tower)
    part, _, norm, _ = tower.layers[0]
    pixels = images.float() / 255
    sides = [conv(pixels, part.single, 0)]
    for gap in (1, 2, 3):
        narrow = torch.relu(conv(pixels, part.narrow[gap - 1], 0))
        sides.append(conv(narrow, part.wide[gap - 1], gap, gap))
    expected = finish(torch.cat(sides, 1), norm, 2)
    features = tower.encode_image(images)
    assert tower.token_dims == (11, 12, 16, 16)
    torch.testing.assert_close(features.tokens[0], expected.flatten(2).mT, atol=1e-5, rtol=1e-4)


def test_the_seed_decides_the_weights_and_training_drops_units(images):
    first, again, other = (MesoNetTower("meso4", (64, 32), seed) for seed in (1, 1, 2))
    torch.testing.assert_close(first.state_dict(), again.state_dict(), rtol=0, atol=0)
    assert not torch.equal(first.hidden.weight, other.hidden.weight)
    Full().apply(first)
    torch.manual_seed(0)
    assert (first.train().encode_image(images).summary == 0).any()
    assert not (first.eval().encode_image(images).summary == 0).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "meso5"}, "expected variant to be one of meso4, meso_inception4; got 'meso5'"),
        ({"image_size": 100}, "expected image_size in multiples of 32, got 100"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MesoNetTower(**arguments)
