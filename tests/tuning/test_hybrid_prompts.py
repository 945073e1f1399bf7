from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.towers.open_clip import OpenClipTower
from clad.tuning.hybrid_prompts import HybridPrompts
from clad.tuning.prompt_tokens import AppendedTokens, PromptTokens

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}


def clip(**arguments) -> OpenClipTower:
    return OpenClipTower(CLIP, "random", layers=(2, 4), **arguments)


def prompted(tower, **arguments):
    HybridPrompts(**({"depth": 2, "length": 3} | arguments)).apply(tower)
    return tower


def images(count: int = 2) -> torch.Tensor:
    return fake_batch().images[:count]


class TestTokens:
    def test_dynamic_tokens_are_one_linear_layer_per_position_and_added_to_each_layers_static(self):
        torch.manual_seed(0)
        tokens, context = PromptTokens(5, 4, num_layers=3, length=2), torch.randn(6, 5)
        weight, bias = tokens.dynamic.weight, tokens.dynamic.bias
        found = tokens.tokens(context)
        assert found.shape == (6, 3, 2, 4)
        for image in range(6):
            for layer in range(3):
                for position in range(2):
                    own = slice(4 * position, 4 * position + 4)
                    made = weight[own] @ context[image] + bias[own]
                    expected = made + tokens.static[layer, position]
                    torch.testing.assert_close(found[image, layer, position], expected)

    def test_each_kind_can_be_left_out(self):
        context = torch.randn(6, 5)
        static = PromptTokens(5, 4, 3, 2, dynamic=False)
        assert torch.equal(static.tokens()[0], static.static)
        dynamic = PromptTokens(5, 4, 3, 2, static=False)
        found = dynamic.tokens(context)
        assert torch.equal(found[:, 0], found[:, 2])
        assert {name for name, _ in dynamic.named_parameters()} == {
            "dynamic.weight",
            "dynamic.bias",
        }

    def test_initial_tokens_are_small(self):
        torch.manual_seed(0)
        assert PromptTokens(5, 400, 4, 5).static.std().item() == pytest.approx(0.02, rel=0.05)

    def test_hook_appends_first_then_replaces_then_lets_go_on(self):
        tokens = AppendedTokens(5, 4, num_layers=2, length=3)
        context, states = torch.randn(2, 5), torch.randn(2, 7, 4)
        hook, made = tokens(context), tokens.tokens(context)
        first = hook(0, states)
        assert torch.equal(first, torch.cat([states, made[:, 0]], 1))
        second = hook(1, first + 1)
        assert torch.equal(second, torch.cat([states + 1, made[:, 1]], 1))
        assert hook(2, second) is second

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"static": False, "dynamic": False},
                "expected static or dynamic prompts, got neither",
            ),
            ({"length": 0}, r"expected length in \[1, 1000\], got 0"),
            ({"depth": 0}, r"expected number of prompted layers in \[1, 1000\], got 0"),
        ],
    )
    def test_prompts_that_would_hold_nothing_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            HybridPrompts(**arguments)


class TestTuning:
    def test_only_its_own_weights_learn_and_it_knows_them(self):
        tower, tuning = clip(), HybridPrompts(depth=2, length=3)
        before = set(tower.state_dict())
        tuning.apply(tower)
        learning = {name for name, value in tower.named_parameters() if value.requires_grad}
        assert learning == {
            f"image_prompts.{n}" for n in ("static", "dynamic.weight", "dynamic.bias")
        }
        assert {name for name in tower.state_dict() if tuning.is_own(name)} == learning
        assert set(tower.state_dict()) - learning == before

    def test_gradients_reach_all_of_it_and_nothing_else(self):
        tower = prompted(clip())
        features = tower.encode_image(images())
        (features.pooled[:, 0].sum() + features.patches[0][..., 1].sum()).backward()
        for name, value in tower.named_parameters():
            reached = value.grad is not None and bool(value.grad.any())
            assert reached == name.startswith("image_prompts."), name

    def test_context_is_the_plain_embedding_before_unit_length_without_a_graph(self):
        tower = clip()
        plain = tower.encode_image(images())
        found = prompted(tower).encode_image(images())
        assert plain.context is None
        torch.testing.assert_close(found.context, plain.embedding, rtol=0, atol=1e-6)
        assert not found.context.requires_grad
        assert found.pooled.requires_grad
        assert not torch.allclose(found.pooled, plain.pooled, atol=1e-3)
        assert [t.shape for t in found.tokens] == [t.shape for t in plain.tokens]
        assert [p.shape for p in found.patches] == [p.shape for p in plain.patches]

    def test_dynamic_tokens_differ_between_images_and_static_ones_do_not(self):
        for dynamic in (True, False):
            tower = prompted(clip(), dynamic=dynamic)
            found = tower.image_prompts.tokens(tower.encode_image(images()).context)
            assert len(found) == (2 if dynamic else 1)
            assert dynamic == (not torch.allclose(found[0], found[-1]))

    def test_an_image_is_encoded_alone_as_in_a_batch(self):
        tower = prompted(clip())
        together, alone = tower.encode_image(images(4)), tower.encode_image(images(4)[2:3])
        torch.testing.assert_close(alone.pooled, together.pooled[2:3], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.patches[1], together.patches[1][2:3], rtol=0, atol=1e-5)

    def test_words_see_nothing_of_it(self):
        tower = clip()
        before = tower.encode_text(["a photo of a nut"])
        assert torch.equal(prompted(tower).encode_text(["a photo of a nut"]), before)

    def test_bfloat16_towers_take_tokens_too(self):
        tower = prompted(clip(precision="bf16"))
        found = tower.encode_image(images())
        assert found.pooled.dtype == found.context.dtype == torch.float32
        found.pooled[:, 0].sum().backward()
        assert tower.image_prompts.static.grad.isfinite().all()

    @pytest.mark.parametrize("arguments", [{"vv_from_layer": 3}, {"window_sides": (2,)}])
    def test_towers_with_another_path_are_refused(self, arguments):
        with pytest.raises(ValueError, match="expected an image encoder that tokens can join"):
            prompted(clip(**arguments))

    def test_towers_without_a_transformer_are_refused(self):
        with pytest.raises(ValueError, match="got FakeTower as it is set up"):
            prompted(FakeTower(aligned=False))

    def test_more_layers_than_there_are_are_refused(self):
        with pytest.raises(ValueError, match=r"expected depth up to 4, .* got 5"):
            prompted(clip(), depth=5)

    def test_tokens_behind_the_patches_count_as_much_as_before_them(self):
        """Attention knows no order: what differs from usual prompt tuning is the place alone."""
        tower = prompted(clip())
        visual, pixels = tower.model.visual, tower.prepare(images())
        found = tower.encode_pixels(pixels)
        made = tower.image_prompts.tokens(found.context)
        states = visual._embeds(pixels)
        for layer, block in enumerate(visual.transformer.resblocks):
            if layer < 2:
                rest = states if layer == 0 else states[:, 3:]
                states = torch.cat([made[:, layer], rest], 1)
            states = block(states)
        expected = visual.ln_post(states[:, 3]) @ visual.proj
        torch.testing.assert_close(found.embedding, expected, rtol=0, atol=1e-5)


def test_fake_tower_keeps_the_contract():
    tower = FakeTower()
    plain = tower.encode_image(images())
    found = prompted(tower).encode_image(images())
    assert torch.equal(found.context, plain.embedding)
    assert not torch.allclose(found.pooled, plain.pooled, atol=1e-4)
