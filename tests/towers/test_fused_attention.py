from __future__ import annotations

import math

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock
from tiny_clip import TEXTS, tiny
from torch import nn
from torch.nn import functional

from clad.towers.attention import FusedSelfAttention, fuse_self_attention
from clad.towers.open_clip import OpenClipTower

WIDTH, HEADS = 12, 3


@pytest.fixture
def plain():
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in attention.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator))
    return attention


def slow_attention(tokens, attention, mask=None):
    """Head by head, as the formula reads: out_proj(softmax(q k^T / sqrt(size) + mask) v)."""
    packed = tokens @ attention.in_proj_weight.T + attention.in_proj_bias
    size, mixed = WIDTH // HEADS, []
    for head in range(HEADS):
        q, k, v = (
            packed[..., part * WIDTH + head * size : part * WIDTH + (head + 1) * size]
            for part in range(3)
        )
        logits = q @ k.transpose(-1, -2) / math.sqrt(size)
        weights = (logits if mask is None else logits + mask).exp()
        mixed.append(weights / weights.sum(-1, keepdim=True) @ v)
    return torch.cat(mixed, -1) @ attention.out_proj.weight.T + attention.out_proj.bias


@pytest.mark.parametrize("is_causal", [False, True])
def test_equals_the_formula(plain, is_causal):
    tokens = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    mask = torch.full((5, 5), -math.inf).triu(1) if is_causal else None
    fused = FusedSelfAttention.of(plain)
    found, weights = fused(tokens, tokens, tokens, need_weights=False, attn_mask=mask)
    expected = slow_attention(tokens, plain, mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert weights is None


def test_true_in_a_mask_hides_as_the_parent_says_and_not_as_the_kernel_does(plain):
    tokens = torch.randn(1, 4, WIDTH)
    hidden = torch.ones(4, 4, dtype=torch.bool).triu(1)
    expected = plain(tokens, tokens, tokens, need_weights=False, attn_mask=hidden)[0]
    fused = FusedSelfAttention.of(plain)
    found = fused(tokens, tokens, tokens, need_weights=False, attn_mask=hidden)[0]
    torch.testing.assert_close(found, expected)


def test_other_ways_to_call_it_are_the_parents(plain):
    fused = FusedSelfAttention.of(plain)
    tokens, others = torch.randn(2, 1, WIDTH), torch.randn(2, 5, WIDTH)
    for options in ({"need_weights": True}, {"need_weights": False}):
        for ours, theirs in zip(
            fused(tokens, others, others, **options),
            plain(tokens, others, others, **options),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)
    ours, theirs = (each(others, others, others) for each in (fused, plain))
    torch.testing.assert_close(ours, theirs)


def test_weights_are_shared_and_keep_their_names(plain):
    block = ResidualAttentionBlock(WIDTH, HEADS).eval()
    names, weight = list(block.state_dict()), block.attn.in_proj_weight
    fuse_self_attention(block)
    assert type(block.attn) is FusedSelfAttention
    assert block.attn.in_proj_weight is weight
    assert list(block.state_dict()) == names
    assert not block.attn.training


def test_gradients_are_those_of_the_parent(plain):
    tokens = torch.randn(1, 4, WIDTH, dtype=torch.float64, requires_grad=True)
    fused = FusedSelfAttention.of(plain.double())
    assert torch.autograd.gradcheck(
        lambda each: fused(each, each, each, need_weights=False)[0], (tokens,)
    )


@pytest.mark.parametrize(
    ("options", "num_calls"),
    [
        ({}, 4),
        ({"vv_from_layer": 3}, 4 + 2),
        # Of each scale of windows the last block has one query, and its own way into the kernel.
        ({"window_sides": (2, 3)}, 4 + 2 * 4),
    ],
)
def test_all_attention_to_images_is_the_fused_kernels(monkeypatch, options, num_calls):
    calls = []
    kernel = functional.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(args)
        return kernel(*args, **kwargs)

    def refused(*args, **kwargs):
        raise AssertionError("expected the fused kernel")

    tower = OpenClipTower(tiny(), "random", **options)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", counted)
    monkeypatch.setattr(torch, "_native_multi_head_attention", refused)
    with torch.inference_mode():
        tower.encode_pixels(torch.randn(2, 3, 32, 32))
        assert len(calls) == num_calls
        calls.clear()
        tower.encode_text(TEXTS)
        assert len(calls) == 3


@pytest.mark.weights
def test_minilm_attends_through_the_kernel():
    from clad.towers.minilm import load_minilm

    model, _ = load_minilm()
    assert model.config._attn_implementation == "sdpa"
