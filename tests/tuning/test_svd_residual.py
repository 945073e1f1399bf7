from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch import nn
from torch.nn.utils import parametrize

from clad.losses.svd_penalty import SvdPenalty
from clad.towers.attention import vv_attention
from clad.towers.base import Block, EncoderParts
from clad.towers.open_clip import OpenClipTower
from clad.tuning.svd_matrix import SvdResidual
from clad.tuning.svd_residual import SvdResiduals

CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}


def learning(tower) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in tower.named_parameters() if weight.requires_grad}


def count(tower) -> int:
    return sum(weight.numel() for weight in learning(tower).values())


class Encoder(FakeTower):
    """Any blocks at the image side."""

    def __init__(self, blocks) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.freeze()

    def image_parts(self):
        return EncoderParts(tuple(Block(each, 8) for each in self.blocks), ())


class TimmBlock(nn.Module):
    """Attention as timm's transformers name it."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(width, 3 * width)
        self.attn.proj = nn.Linear(width, width)
        self.fc = nn.Linear(width, 4 * width)


class TestCount:
    def test_clip_l_14_learns_196704_numbers(self):
        """24 blocks of 1024 channels; shapes alone, without memory for the weights."""
        with torch.device("meta"):
            blocks = [nn.MultiheadAttention(1024, 16) for _ in range(24)]
        tower = Encoder(blocks)
        SvdResiduals().apply(tower)
        assert count(tower) == 24 * 4 * (1024 + 1 + 1024) == 196_704

    def test_a_small_clip_by_the_same_formula(self):
        tower = OpenClipTower(CLIP, "random")
        SvdResiduals(rank=2).apply(tower)
        assert count(tower) == 4 * 4 * 2 * (64 + 1 + 64)
        assert all(
            name.startswith("model.visual.transformer.resblocks.") for name in learning(tower)
        )

    def test_timms_packed_matrix_is_three(self):
        tower = Encoder([TimmBlock(), TimmBlock()])
        SvdResiduals().apply(tower)
        assert count(tower) == 2 * 4 * (8 + 1 + 8)

    def test_named_modules_only(self):
        tower = Encoder([TimmBlock()])
        SvdResiduals(modules=("fc",)).apply(tower)
        assert count(tower) == 32 + 1 + 8
        clip = OpenClipTower(CLIP, "random")
        SvdResiduals(modules=("mlp.c_fc",)).apply(clip)
        assert count(clip) == 4 * (256 + 1 + 64)

    def test_without_attention_pointwise_convolutions_learn(self):
        tower = FakeTower()
        SvdResiduals().apply(tower)
        assert count(tower) == 5 * (12 + 1 + 12)
        assert all(name.startswith("refinements.") for name in learning(tower))


class TestMatrix:
    @pytest.mark.parametrize("shape", [(6, 6), (9, 5), (5, 9), (7, 4, 1, 1)])
    @pytest.mark.parametrize("rank", [1, 2])
    def test_what_is_frozen_and_what_learns_by_numpys_decomposition(self, shape, rank):
        weight = torch.randn(shape)
        made = SvdResidual(weight, rank)
        assert torch.equal(made(weight), weight)  # to the last bit
        learnt = (made.svd_left * made.svd_values[:, None]) @ made.svd_right
        _, values, _ = torch.linalg.svd(weight.flatten(1).double())
        torch.testing.assert_close(
            made.svd_values[0].double().detach(), values[-rank:], atol=1e-5, rtol=1e-5
        )
        with torch.no_grad():
            made.svd_values.zero_()
        frozen = made(weight).detach().flatten(1).double()
        found = torch.linalg.svdvals(frozen)
        torch.testing.assert_close(found[:-rank], values[:-rank], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[-rank:], torch.zeros(rank).double(), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            frozen + learnt[0].double().detach(), weight.flatten(1).double(), atol=1e-6, rtol=0
        )

    def test_stacked_matrices_are_decomposed_apart(self):
        weight = torch.randn(12, 4)
        together = SvdResidual(weight, 1, num_stacked=3)
        for number, part in enumerate(weight.split(4)):
            alone = SvdResidual(part, 1)
            torch.testing.assert_close(
                (together.svd_left[number] * together.svd_values[number])
                @ together.svd_right[number],
                (alone.svd_left[0] * alone.svd_values[0]) @ alone.svd_right[0],
            )

    def test_the_product_by_hand(self):
        weight = torch.diag(torch.tensor([3.0, 1.0]))
        made = SvdResidual(weight)
        with torch.no_grad():
            made.svd_left.copy_(torch.tensor([[[1.0], [2.0]]]))
            made.svd_values.fill_(2.0)
            made.svd_right.copy_(torch.tensor([[[1.0, -1.0]]]))
        expected = torch.tensor([[3.0 + 2, -2.0], [4.0, -4.0]])
        torch.testing.assert_close(made(weight), expected)

    def test_half_precision_keeps_its_bits(self):
        weight = torch.randn(6, 6, dtype=torch.bfloat16)
        made = SvdResidual(weight)
        assert {p.dtype for p in made.parameters()} == {torch.float32}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(made(weight), weight)

    def test_something_has_to_stay(self):
        with pytest.raises(ValueError, match=r"expected rank in \[1, 3\], got 4"):
            SvdResidual(torch.randn(4, 9), 4)


class TestTower:
    def test_nothing_changes_at_the_start(self):
        plain, tower = OpenClipTower(CLIP, "random"), OpenClipTower(CLIP, "random")
        SvdResiduals().apply(tower)
        images = fake_batch().images
        before, after = plain.encode_image(images), tower.encode_image(images)
        torch.testing.assert_close(after.pooled, before.pooled, atol=1e-6, rtol=0)
        torch.testing.assert_close(tower.encode_text(["a nut"]), plain.encode_text(["a nut"]))

    def test_a_block_equals_one_with_the_matrix_written_in(self):
        plain, tower = OpenClipTower(CLIP, "random"), OpenClipTower(CLIP, "random")
        SvdResiduals().apply(tower)
        torch.manual_seed(3)
        for weight in learning(tower).values():
            nn.init.normal_(weight, std=0.3)
        merged = plain.model.visual.transformer.resblocks[1]
        tuned = tower.model.visual.transformer.resblocks[1]
        with torch.no_grad():
            for target, factors in (
                (merged.attn.in_proj_weight, tuned.attn.parametrizations.in_proj_weight[0]),
                (merged.attn.out_proj.weight, tuned.attn.out_proj.parametrizations.weight[0]),
            ):
                rows = target.view(-1, 64, 64)
                for number, matrix in enumerate(rows):
                    left, values, right = torch.linalg.svd(matrix.clone())
                    matrix -= values[-1] * torch.outer(left[:, -1], right[-1])
                    matrix += factors.svd_values[number, 0] * torch.outer(
                        factors.svd_left[number, :, 0], factors.svd_right[number, 0]
                    )
        states = torch.randn(2, 5, 64)
        torch.testing.assert_close(tuned(states), merged(states), atol=1e-5, rtol=1e-4)

    def test_attention_among_values_sees_the_update(self):
        tower = OpenClipTower(CLIP, "random")
        SvdResiduals().apply(tower)
        attention = tower.model.visual.transformer.resblocks[0].attn
        tokens = torch.randn(1, 4, 64)
        arguments = (None, attention.out_proj.weight, None)
        found = vv_attention(tokens, attention.in_proj_weight, *arguments, num_heads=4)
        found.sum().backward()
        grad = attention.parametrizations["in_proj_weight"][0].svd_values.grad
        assert grad[:, 0].ne(0).tolist() == [False, False, True]

    def test_unknown_modules_and_ranks_are_refused(self):
        with pytest.raises(
            ValueError, match=r"got \['qkv'\]; module names there end in attn, c_fc"
        ):
            SvdResiduals(modules=("attn", "qkv")).apply(OpenClipTower(CLIP, "random"))
        with pytest.raises(ValueError, match=r"expected rank in \[1, 63\], got 64"):
            SvdResiduals(rank=64).apply(OpenClipTower(CLIP, "random"))
        with pytest.raises(ValueError, match=r"expected rank in \[1, 4096\], got 0"):
            SvdResiduals(rank=0)
        with pytest.raises(ValueError, match="module names there end in nothing that fits"):
            SvdResiduals().apply(Encoder([nn.Conv2d(8, 8, 3)]))


class TestPenalties:
    def stirred(self, shape=(6, 6), rank=2) -> tuple[torch.Tensor, SvdResidual]:
        weight = torch.randn(shape)
        made = SvdResidual(weight, rank)
        with torch.no_grad():
            for part in made.parameters():
                part += 0.3 * torch.randn_like(part)
        return weight, made

    def test_nothing_at_the_start(self):
        weight = torch.randn(9, 5)
        made = SvdResidual(weight)
        assert made.orthogonality().item() == pytest.approx(0, abs=1e-5)
        assert made.norm_change(weight).item() == 0
        (made.orthogonality() + made.norm_change(weight)).backward()
        assert all(p.grad.isfinite().all() for p in made.parameters())

    def test_orthogonality_is_that_of_all_directions(self):
        weight, made = self.stirred()
        left, _, right = torch.linalg.svd(weight)
        every_left = torch.cat([left[:, :-2], made.svd_left[0]], 1)
        every_right = torch.cat([right[:-2], made.svd_right[0]], 0)
        eye = torch.eye(6)
        expected = (every_left @ every_left.T - eye).square().sum() / 2
        expected += (every_right.T @ every_right - eye).square().sum() / 2
        torch.testing.assert_close(made.orthogonality(), expected)

    def test_norm_is_that_of_the_whole_weight(self):
        weight, made = self.stirred((9, 5))
        expected = (made(weight).square().sum() - weight.square().sum()).abs()
        torch.testing.assert_close(made.norm_change(weight), expected, atol=1e-4, rtol=1e-4)

    def test_the_loss_is_their_mean_over_weights(self):
        tower = Encoder([TimmBlock()])
        SvdResiduals(modules=("fc", "proj")).apply(tower)
        torch.manual_seed(3)
        for weight in learning(tower).values():
            nn.init.normal_(weight, std=0.3)
        found = [m for m in tower.modules() if isinstance(m, parametrize.ParametrizationList)]
        expected = [
            2 * each[0].orthogonality() + 3 * each[0].norm_change(each.original) for each in found
        ]
        loss = SvdPenalty(orthogonality=2.0, norm=3.0)
        loss.attach(tower)
        assert not list(loss.parameters())  # they are the tower's
        value = loss(None)
        torch.testing.assert_close(value, torch.stack(expected).mean())
        value.backward()
        assert all(weight.grad is not None for weight in learning(tower).values())

    def test_a_tower_without_is_refused(self):
        with pytest.raises(ValueError, match=r"for svd_penalty, got none; add configs/tuning/svd_"):
            SvdPenalty().attach(FakeTower())


@pytest.mark.weights
def test_offline_tower_learns_in_its_pointwise_convolutions() -> None:
    from clad.towers.offline import OfflineTower

    plain, tower = OfflineTower(64), OfflineTower(64)
    SvdResiduals().apply(tower)
    images = fake_batch(image_size=(64, 64)).images
    before, after = plain.encode_image(images), tower.encode_image(images)
    torch.testing.assert_close(after.summary, before.summary, atol=1e-5, rtol=1e-4)
    assert {name.split(".parametr")[0].rpartition(".")[2] for name in learning(tower)} == {
        "conv_pw",
        "conv_pwl",
    }
    tower.train()
    tower.encode_image(images).summary.square().sum().backward()
    assert all(weight.grad is not None for weight in learning(tower).values())
