"""One linear map per layer: counted, compared with plain loops, layers that differ."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.adapters.layer_projection import LayerProjection


def made(tower=None, **settings) -> LayerProjection:
    torch.manual_seed(0)
    adapter = LayerProjection(**settings)
    adapter.attach(FakeTower() if tower is None else tower)
    return adapter


def features(**settings):
    return FakeTower(**settings).encode_image(fake_batch().images)


def count(adapter) -> int:
    return sum(p.numel() for p in adapter.parameters())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 3_148_800),
        ({"bias": False}, 4 * 1024 * 768),
        ({"pooled": "mean_patch"}, 5 * (1024 * 768 + 768)),
        ({"pooled": "linear"}, 3_148_800 + 768 * 768 + 768),
    ],
)
def test_as_many_weights_as_published_with_vit_l_14_and_four_layers(settings, expected):
    tower = SimpleNamespace(token_dims=(1024,) * 4, embed_dim=768)
    with torch.device("meta"):
        assert count(made(tower, **settings)) == expected


def test_patches_equal_plain_loops():
    adapter, plain = made(), features()
    found = adapter(plain)
    for layer, tokens, patches in zip(adapter.layers, plain.tokens, found.patches, strict=True):
        weight, bias = layer.weight.tolist(), layer.bias.tolist()
        for image in range(len(tokens)):
            for token, patch in zip(tokens[image], patches[image], strict=True):
                values = token.tolist()
                projected = [
                    sum(w * v for w, v in zip(row, values, strict=True)) + b
                    for row, b in zip(weight, bias, strict=True)
                ]
                length = sum(p * p for p in projected) ** 0.5
                expected = torch.tensor([p / length for p in projected])
                torch.testing.assert_close(patch, expected, atol=1e-5, rtol=1e-4)


def test_the_towers_image_embedding_is_kept():
    plain = features()
    assert made()(plain).pooled is plain.pooled


def test_layers_differ_and_each_map_moves_its_own_layer_only():
    plain = features()
    twice = replace(plain, tokens=(plain.tokens[0],) * 2, grids=(plain.grids[0],) * 2)
    adapter = LayerProjection()
    adapter.attach(SimpleNamespace(token_dims=(8, 8), embed_dim=16))
    first, second = adapter(twice).patches
    assert (first - second).abs().amax(-1).min() > 0.05
    with torch.no_grad():
        adapter.layers[1].weight += 1
    moved = adapter(twice).patches
    assert torch.equal(moved[0], first)
    assert not torch.allclose(moved[1], second, atol=1e-3)


def test_mean_patch_is_the_mean_of_the_last_layers_projected_unit_tokens():
    adapter, plain = made(pooled="mean_patch"), features(aligned=False)
    projected = plain.tokens[-1] @ adapter.image.weight.T + adapter.image.bias
    unit = projected / projected.norm(dim=-1, keepdim=True)
    mean = unit.mean(1)
    torch.testing.assert_close(adapter(plain).pooled, mean / mean.norm(dim=-1, keepdim=True))
    assert adapter.aligns
    assert not made().aligns


def test_linear_projects_the_embedding_before_unit_length():
    adapter, plain = made(pooled="linear"), features()
    projected = plain.embedding @ adapter.image.weight.T + adapter.image.bias
    expected = projected / projected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(adapter(plain).pooled, expected)


def test_activation_and_norm_by_hand():
    plain = features()
    adapter = made(activation="leaky_relu", token_norm="layer", bias=False)
    tokens = plain.tokens[0]
    centred = tokens - tokens.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    projected = normed @ adapter.layers[0].weight.T
    active = torch.where(projected > 0, projected, 0.01 * projected)
    expected = active / active.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(adapter(plain).patches[0], expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooled": "max"}, "expected pooled to be one of keep, linear, mean_patch; got 'max'"),
        ({"activation": "gelu"}, "expected activation to be one of leaky_relu, none"),
        ({"token_norm": "batch"}, "expected token_norm to be one of layer, none"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LayerProjection(**settings)


def test_a_tower_without_an_image_embedding_cannot_have_it_projected():
    adapter = made(pooled="linear")
    with pytest.raises(ValueError, match=r"image embedding for pooled: linear, got none; choose"):
        adapter(features(aligned=False))
