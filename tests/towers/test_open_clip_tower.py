from __future__ import annotations

import copy
import pickle

import open_clip
import pytest
import torch
from tiny_clip import TEXTS, tiny
from torch.nn import functional

from clad.checks import expect_unit_norm
from clad.towers.open_clip import OpenClipTower
from clad.towers.open_clip_visual import resize_position_embedding


@pytest.fixture(scope="module")
def tower():
    return OpenClipTower(tiny(), "random", layers=(2, 4))


@pytest.fixture(scope="module")
def pixels(tower):
    generator = torch.Generator().manual_seed(0)
    return tower.prepare(torch.randint(0, 256, (2, 3, 40, 36), generator=generator).byte())


class TestImages:
    def test_pooled_is_open_clips_normalised_encoding(self, tower, pixels):
        expected = tower.model.encode_image(pixels, normalize=True)
        torch.testing.assert_close(
            tower.encode_pixels(pixels).pooled, expected, atol=1e-6, rtol=0.0
        )

    def test_tokens_are_open_clips_intermediates_and_layers_differ(self, tower, pixels):
        features = tower.encode_pixels(pixels)
        oracle = tower.model.visual.forward_intermediates(
            pixels, indices=[1, 3], output_fmt="NLC", output_extra_tokens=True
        )
        for ours, expected in zip(features.tokens, oracle["image_intermediates"], strict=True):
            torch.testing.assert_close(ours, expected)
        assert features.grids == ((4, 4), (4, 4))
        assert not torch.allclose(*features.tokens)
        assert not torch.allclose(*features.patches)
        cls = oracle["image_intermediates_prefix"][-1][:, 0]
        torch.testing.assert_close(features.summary, tower.model.visual.ln_post(cls))

    def test_patches_pass_final_norm_and_projection(self, tower, pixels):
        features = tower.encode_pixels(pixels)
        visual = tower.model.visual
        for tokens, patches in zip(features.tokens, features.patches, strict=True):
            expected = functional.normalize(visual.ln_post(tokens) @ visual.proj, dim=-1)
            torch.testing.assert_close(patches, expected)

    def test_pixels_of_another_size_are_refused(self, tower):
        with pytest.raises(ValueError, match=r"expected pixels of shape .* 32, 32\), got"):
            tower.encode_pixels(torch.zeros(1, 3, 40, 40))

    def test_works_under_inference_mode_and_autocast(self, tower, pixels):
        plain = tower.encode_pixels(pixels)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            low = tower.encode_pixels(pixels)
        assert low.pooled.dtype == low.tokens[0].dtype == torch.float32
        expect_unit_norm("pooled", low.pooled, 1e-5)
        torch.testing.assert_close(low.pooled, plain.pooled, atol=0.05, rtol=0.0)

    def test_average_pooled_transformer_keeps_its_own_pooling(self):
        config = tiny(vision_pool_type="avg", vision_final_ln_after_pool=True)
        tower = OpenClipTower(config, "random")
        pixels = torch.randn(2, 3, 32, 32)
        features = tower.encode_pixels(pixels)
        expected = tower.model.encode_image(pixels, normalize=True)
        torch.testing.assert_close(features.pooled, expected)
        mean = tower.model.visual.ln_post(features.tokens[-1].mean(1))
        torch.testing.assert_close(features.summary, mean)

    def test_bf16_keeps_norms_in_float32_and_is_close(self, tower, pixels):
        low = OpenClipTower(tiny(), "random", layers=(2, 4), precision="bf16")
        visual = low.model.visual
        assert visual.transformer.resblocks[0].attn.in_proj_weight.dtype == torch.bfloat16
        assert visual.ln_post.weight.dtype == torch.float32
        features, exact = low.encode_pixels(pixels), tower.encode_pixels(pixels)
        assert features.tokens[0].dtype == features.pooled.dtype == torch.float32
        torch.testing.assert_close(features.pooled, exact.pooled, atol=0.05, rtol=0.0)
        texts = low.encode_text(TEXTS)
        assert texts.dtype == torch.float32
        assert functional.cosine_similarity(texts, tower.encode_text(TEXTS)).min() > 0.99

    def test_patches_are_never_dropped_in_training(self):
        tower = OpenClipTower(tiny(vision_patch_dropout=0.5), "random")
        tower.requires_grad_(True)
        tower.train()
        assert tower.encode_pixels(torch.randn(1, 3, 32, 32)).tokens[0].shape == (1, 16, 64)


class TestImageSize:
    @pytest.mark.parametrize("size", [64, (40, 64), (24, 16)])
    def test_interpolated_size_equals_open_clips_own_resize(self, size):
        tower = OpenClipTower(tiny(), "random", image_size=size)
        state = OpenClipTower(tiny(), "random").model.state_dict()
        native = open_clip.CLIP(**tiny(vision_image_size=size)).eval()
        open_clip.model.resize_pos_embed(state, native)
        native.load_state_dict(state)
        pixels = torch.randn(2, 3, *tower.image_size)
        features = tower.encode_pixels(pixels)
        expected = native.encode_image(pixels, normalize=True)
        torch.testing.assert_close(features.pooled, expected, atol=1e-5, rtol=0.0)
        height, width = tower.image_size
        assert features.grids == ((height // 8, width // 8),)
        assert features.tokens[0].shape[1] == height * width // 64

    def test_position_embedding_keeps_class_token_constants_and_same_grid(self):
        embedding = torch.randn(1 + 12, 5)
        torch.testing.assert_close(resize_position_embedding(embedding, (3, 4), (3, 4)), embedding)
        constant = torch.cat([embedding[:1], torch.full((12, 5), 0.7)])
        resized = resize_position_embedding(constant, (3, 4), (6, 2))
        assert resized.shape == (13, 5)
        torch.testing.assert_close(resized, constant)

    def test_position_embedding_is_not_transposed(self):
        rows = torch.arange(4.0).repeat_interleave(4)[:, None]
        resized = resize_position_embedding(torch.cat([torch.zeros(1, 1), rows]), (4, 4), (8, 2))
        plane = resized[1:, 0].reshape(8, 2)
        torch.testing.assert_close(plane[:, 0], plane[:, 1])
        assert plane[0, 0] < plane[-1, 0]

    def test_size_that_cuts_patches_is_refused_with_one_that_fits(self):
        with pytest.raises(ValueError, match=r"multiples of \(8, 8\).*got \(50, 33\); \(48, 32\)"):
            OpenClipTower(tiny(), "random", image_size=(50, 33))


class TestLayers:
    def test_default_is_the_last_block(self):
        assert OpenClipTower(tiny(), "random").layers == (4,)

    @pytest.mark.parametrize("layers", [(0, 4), (5,), (4, 2), (2, 2), ()])
    def test_layers_out_of_range_or_order_are_refused(self, layers):
        with pytest.raises(ValueError, match="expected ascending layers from 1 to 4"):
            OpenClipTower(tiny(), "random", layers=layers)


class TestValuePath:
    def test_patches_follow_the_path_and_everything_else_stays(self, tower, pixels):
        local = OpenClipTower(tiny(), "random", layers=(2, 4), vv_from_layer=3)
        features, plain = local.encode_pixels(pixels), tower.encode_pixels(pixels)
        assert torch.equal(features.pooled, plain.pooled)
        assert torch.equal(features.summary, plain.summary)
        for ours, expected in zip(features.tokens, plain.tokens, strict=True):
            assert torch.equal(ours, expected)
        assert torch.equal(features.patches[0], plain.patches[0])
        assert not torch.allclose(features.patches[1], plain.patches[1])

    def test_path_sums_value_updates_of_the_original_states(self, pixels):
        tower = OpenClipTower(tiny(vision_ls_init_value=0.3), "random", vv_from_layer=3)
        visual = tower.model.visual
        _, states = visual.transformer.forward_intermediates(visual._embeds(pixels))
        path = states[1]
        for block, original in zip(visual.transformer.resblocks[2:], states[1:3], strict=True):
            normed = block.ln_1(original)
            weight, bias = block.attn.in_proj_weight[128:], block.attn.in_proj_bias[128:]
            values = (normed @ weight.T + bias).unflatten(-1, (4, 16)).transpose(1, 2)
            mixed = torch.softmax(values @ values.mT / 4, dim=-1) @ values
            path = path + 0.3 * block.attn.out_proj(mixed.transpose(1, 2).flatten(2))
        expected = functional.normalize(visual.ln_post(path[:, 1:]) @ visual.proj, dim=-1)
        torch.testing.assert_close(tower.encode_pixels(pixels).patches[0], expected)

    def test_start_behind_the_chosen_layers_is_refused(self):
        with pytest.raises(ValueError, match="last chosen layer 2, got 3"):
            OpenClipTower(tiny(), "random", layers=(2,), vv_from_layer=3)

    def test_variant_attention_is_refused(self):
        with pytest.raises(ValueError, match="plain attention for vv_from_layer"):
            OpenClipTower(tiny(vision_qk_norm=True), "random", vv_from_layer=2)


def test_tower_can_be_copied_and_pickled(tower, pixels):
    expected = tower.encode_pixels(pixels).pooled
    for twin in (copy.deepcopy(tower), pickle.loads(pickle.dumps(tower))):
        torch.testing.assert_close(twin.encode_pixels(pixels).pooled, expected)
        torch.testing.assert_close(twin.encode_text(TEXTS), tower.encode_text(TEXTS))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_everything_follows_the_device(tower, pixels, precision):
    twin = OpenClipTower(tiny(), "random", layers=(2, 4), vv_from_layer=3, precision=precision)
    twin = twin.cuda()
    features = twin.encode_pixels(pixels.cuda())
    assert features.pooled.is_cuda
    atol = 1e-3 if precision == "fp32" else 0.05
    expected = tower.encode_pixels(pixels).pooled
    torch.testing.assert_close(features.pooled.cpu(), expected, atol=atol, rtol=0.0)
    texts = twin.encode_text(TEXTS)
    assert texts.is_cuda
    assert functional.cosine_similarity(texts.cpu(), tower.encode_text(TEXTS)).min() > 0.99
