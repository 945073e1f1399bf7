from __future__ import annotations

import pytest
import torch
from tiny_clip import tiny
from torch.nn import functional

from clad.towers.open_clip import OpenClipTower

RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
CONVNEXT = {
    "timm_model_name": "test_convnext",
    "timm_pool": "",
    "timm_proj": "linear",
    "image_size": 64,
}
SIGLIP = {
    "timm_model_name": "test_vit",
    "timm_pool": "map",
    "timm_proj": "none",
    "image_size": 160,
}


@pytest.mark.parametrize(
    ("vision", "embed_dim"), [(RESNET, 32), (CONVNEXT, 32), (SIGLIP, 64)], ids=lambda v: None
)
@pytest.mark.parametrize("size", [None, (96, 128)])
def test_pooled_is_open_clips_and_layers_have_announced_widths(vision, embed_dim, size):
    config = {**tiny(), "vision_cfg": vision, "embed_dim": embed_dim}
    depth = len(OpenClipTower(config, "random")._trunk.token_dims)
    tower = OpenClipTower(config, "random", image_size=size, layers=(depth - 1, depth))
    pixels = torch.randn(2, 3, *tower.image_size)
    features = tower.encode_pixels(pixels)
    expected = tower.model.encode_image(pixels, normalize=True)
    torch.testing.assert_close(features.pooled, expected, atol=1e-5, rtol=0.0)
    assert tuple(tokens.shape[-1] for tokens in features.tokens) == tower.token_dims
    for tokens, (height, width) in zip(features.tokens, features.grids, strict=True):
        assert tokens.shape[1] == height * width
    assert features.summary.shape == (2, tower.summary_dim)


@pytest.mark.parametrize("vision", [RESNET, CONVNEXT], ids=["resnet", "convnext"])
def test_only_the_last_stage_of_a_convolutional_trunk_has_text_space(vision):
    config = {**tiny(), "vision_cfg": vision}
    pixels = torch.randn(1, 3, 64, 64)
    last = OpenClipTower(config, "random").encode_pixels(pixels)
    assert last.patches[0].shape == (1, 4, 32)
    depth = len(OpenClipTower(config, "random")._trunk.token_dims)
    both = OpenClipTower(config, "random", layers=(depth - 1, depth)).encode_pixels(pixels)
    assert both.patches is None
    torch.testing.assert_close(both.tokens[1], last.tokens[0])


def test_one_cell_convolutional_image_is_its_own_patch():
    config = {**tiny(), "vision_cfg": {**CONVNEXT, "image_size": 32}}
    features = OpenClipTower(config, "random").encode_pixels(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(features.patches[0][:, 0], features.pooled)


def test_resnet_patches_take_the_value_path():
    config = {**tiny(), "vision_cfg": RESNET}
    tower = OpenClipTower(config, "random")
    features = tower.encode_pixels(torch.randn(2, 3, 64, 64))
    pool = tower.model.visual.attnpool
    values = features.tokens[0] @ pool.v_proj.weight.T + pool.v_proj.bias
    expected = functional.normalize(values @ pool.c_proj.weight.T + pool.c_proj.bias, dim=-1)
    torch.testing.assert_close(features.patches[0], expected)


def test_value_path_needs_open_clips_transformer():
    config = {**tiny(), "vision_cfg": CONVNEXT}
    with pytest.raises(ValueError, match="VisionTransformer with plain attention"):
        OpenClipTower(config, "random", vv_from_layer=1)


def test_attention_pooled_patches_and_caption_models_are_refused():
    with pytest.raises(ValueError, match="image tower whose layers"):
        OpenClipTower(tiny(vision_attentional_pool=True, vision_attn_pooler_heads=4), "random")
    with pytest.raises(ValueError, match="caption decoder"):
        OpenClipTower("coca_ViT-B-32", "random")
