"""What AnomalyCLIP and Grad-CAM ask of the open_clip tower."""

from __future__ import annotations

import pytest
import torch
from tiny_clip import tiny
from torch.nn import functional

from clad.towers.open_clip import OpenClipTower
from clad.towers.open_clip_visual import resize_position_embedding


def random_pixels(count=2):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_class_token_is_projected_without_the_final_norm():
    tower = OpenClipTower(tiny(), "random", vv_from_layer=3, cls_without_norm=True)
    plain = OpenClipTower(tiny(), "random", vv_from_layer=3)
    visual = tower.model.visual
    with torch.no_grad():
        for each in (visual, plain.model.visual):
            each.ln_post.weight.copy_(torch.linspace(0.5, 2, 64))
            each.ln_post.bias.fill_(0.1)
    features, usual = (each.encode_pixels(random_pixels()) for each in (tower, plain))
    states = visual.transformer(visual._embeds(random_pixels()))
    expected = functional.normalize(states[:, 0] @ visual.proj, dim=-1)
    torch.testing.assert_close(features.pooled, expected, atol=1e-6, rtol=0.0)
    assert (features.pooled - usual.pooled).abs().max() > 1e-3
    assert torch.equal(features.patches[0], usual.patches[0]), "patches keep the norm"
    assert torch.equal(features.summary, usual.summary)


class TestPositions:
    def test_bilinear_is_linear_between_cell_centres_by_hand(self):
        line = torch.tensor([[9.0], [0.0], [4.0]])  # class token, then a grid of 1 x 2
        resized = resize_position_embedding(line, (1, 2), (1, 4), "bilinear")
        assert resized.flatten().tolist() == [9.0, 0.0, 1.0, 3.0, 4.0]

    def test_bilinear_has_no_antialiasing(self):
        line = torch.tensor([[9.0], [0.0], [1.0], [5.0], [20.0]])
        resized = resize_position_embedding(line, (1, 4), (1, 2), "bilinear")
        assert resized.flatten().tolist() == [9.0, 0.5, 12.5]

    def test_the_tower_uses_the_chosen_way(self):
        size = {"image_size": 48}
        weights = OpenClipTower(tiny(), "random").model.visual.positional_embedding
        for way in ("bicubic", "bilinear"):
            tower = OpenClipTower(tiny(), "random", position_interpolation=way, **size)
            expected = resize_position_embedding(weights, (4, 4), (6, 6), way)
            assert torch.equal(tower.model.visual.positional_embedding, expected)

    def test_an_unknown_way_is_refused(self):
        with pytest.raises(ValueError, match="position_interpolation to be one of bicubic, bilin"):
            OpenClipTower(tiny(), "random", position_interpolation="nearest")

    def test_timm_trunks_know_their_own_way_only(self):
        vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none"}
        config = {**tiny(), "vision_cfg": {**vision, "image_size": 160}, "embed_dim": 64}
        with pytest.raises(ValueError, match="position_interpolation bicubic for a timm trunk"):
            OpenClipTower(config, "random", image_size=96, position_interpolation="bilinear")


class TestTokensOnThePath:
    @pytest.mark.parametrize("vv_from_layer", [None, 3])
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_pooled_has_gradients_at_earlier_tokens_and_keeps_its_values(
        self, vv_from_layer, precision
    ):
        tower = OpenClipTower(
            tiny(), "random", layers=(2, 3, 4), vv_from_layer=vv_from_layer, precision=precision
        )
        pixels = random_pixels().requires_grad_()
        features = tower.encode_pixels(pixels)
        # With a graph as well: without one, torch takes another kernel for attention.
        encoded = tower.model.encode_image(pixels.to(tower.model.visual.proj.dtype))
        assert torch.equal(features.pooled, functional.normalize(encoded.float(), dim=-1))
        target = features.pooled[:, 0].sum()
        for tokens in features.tokens[:2]:
            (gradient,) = torch.autograd.grad(target, tokens, retain_graph=True)
            assert gradient.abs().sum() > 0
        (gradient,) = torch.autograd.grad(target, features.tokens[2])
        assert not gradient.any(), "nothing reads the last block's patches"

    def test_gradient_is_that_of_what_follows(self):
        tower = OpenClipTower(tiny(), "random", layers=(3,)).double()
        features = tower.encode_pixels(random_pixels().double().requires_grad_())
        (gradient,) = torch.autograd.grad(features.pooled[:, 0].sum(), features.tokens[0])
        visual = tower.model.visual
        _, states = visual.transformer.forward_intermediates(
            visual._embeds(random_pixels().double())
        )
        states = states[2].detach().requires_grad_()
        pooled = visual._pool(visual.transformer.resblocks[3](states))[0] @ visual.proj
        functional.normalize(pooled, dim=-1)[:, 0].sum().backward()
        torch.testing.assert_close(gradient, states.grad[:, 1:])

    def test_patches_of_a_layer_depend_on_its_tokens(self):
        tower = OpenClipTower(tiny(), "random", layers=(2, 4), vv_from_layer=3)
        features = tower.encode_pixels(random_pixels().requires_grad_())
        for patches in features.patches:
            (gradient,) = torch.autograd.grad(
                patches[..., 0].sum(), features.tokens[0], retain_graph=True
            )
            assert gradient.abs().sum() > 0
