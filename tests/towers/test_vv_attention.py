from __future__ import annotations

import math

import pytest
import torch
from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock
from torch import nn

from clad.towers.attention import has_plain_attention, value_heads, vv_attention, vv_update

WIDTH, HEADS = 12, 3


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    shapes = [(3 * WIDTH, WIDTH), (3 * WIDTH,), (WIDTH, WIDTH), (WIDTH,)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def slow_vv_attention(tokens, weights):
    """Head by head, token by token, as the formula reads."""
    in_weight, in_bias, out_weight, out_bias = weights
    size = WIDTH // HEADS
    values = tokens @ in_weight[2 * WIDTH :].T + in_bias[2 * WIDTH :]
    mixed = torch.zeros_like(values)
    for image in range(tokens.shape[0]):
        for head in range(HEADS):
            v = values[image, :, head * size : (head + 1) * size]
            for position in range(tokens.shape[1]):
                logits = [float(v[position] @ other) / math.sqrt(size) for other in v]
                exponentials = [math.exp(logit - max(logits)) for logit in logits]
                for other, e in zip(v, exponentials, strict=True):
                    mixed[image, position, head * size : (head + 1) * size] += (
                        e / sum(exponentials) * other
                    )
    return mixed @ out_weight.T + out_bias


def test_output_equals_slow_reference(weights):
    tokens = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        vv_attention(tokens, *weights, HEADS), slow_vv_attention(tokens, weights)
    )


def test_identical_tokens_give_out_proj_of_value(weights):
    in_weight, in_bias, out_weight, out_bias = weights
    token = torch.randn(1, 1, WIDTH, generator=torch.Generator().manual_seed(2))
    value = token @ in_weight[2 * WIDTH :].T + in_bias[2 * WIDTH :]
    expected = (value @ out_weight.T + out_bias).expand(1, 7, WIDTH)
    torch.testing.assert_close(vv_attention(token.expand(1, 7, -1), *weights, HEADS), expected)


def test_value_logits_are_symmetric_where_query_key_logits_are_not(weights):
    in_weight, in_bias = weights[:2]
    tokens = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(3))
    values = value_heads(tokens, in_weight, in_bias, HEADS)
    logits = values @ values.transpose(-1, -2)
    assert values.shape == (2, HEADS, 5, WIDTH // HEADS)
    torch.testing.assert_close(logits, logits.transpose(-1, -2))
    queries = tokens @ in_weight[:WIDTH].T
    keys = tokens @ in_weight[WIDTH : 2 * WIDTH].T
    ordinary = queries @ keys.transpose(-1, -2)
    assert not torch.allclose(ordinary, ordinary.transpose(-1, -2))


def test_equals_multihead_attention_whose_queries_and_keys_are_its_values():
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    with torch.no_grad():
        attention.in_proj_bias.normal_()
        for third in (0, 1):
            rows = slice(third * WIDTH, (third + 1) * WIDTH)
            attention.in_proj_weight[rows] = attention.in_proj_weight[2 * WIDTH :]
            attention.in_proj_bias[rows] = attention.in_proj_bias[2 * WIDTH :]
    tokens = torch.randn(2, 6, WIDTH)
    ours = vv_attention(
        tokens,
        attention.in_proj_weight,
        attention.in_proj_bias,
        attention.out_proj.weight,
        attention.out_proj.bias,
        HEADS,
    )
    torch.testing.assert_close(ours, attention(tokens, tokens, tokens)[0])


def test_biases_may_be_absent(weights):
    tokens = torch.randn(1, 4, WIDTH)
    in_weight, in_bias, out_weight, out_bias = weights
    without = vv_attention(tokens, in_weight, None, out_weight, None, HEADS)
    zeros = vv_attention(
        tokens, in_weight, torch.zeros_like(in_bias), out_weight, torch.zeros_like(out_bias), HEADS
    )
    torch.testing.assert_close(without, zeros)


def test_update_reads_the_norm_and_respects_layer_scale():
    block = ResidualAttentionBlock(WIDTH, HEADS, ls_init_value=0.5).eval()
    with torch.no_grad():
        block.ln_1.weight.normal_()
        block.ls_1.gamma.uniform_(0.1, 0.9)
    states = torch.randn(2, 5, WIDTH)
    attention = block.attn
    plain = slow_vv_attention(
        block.ln_1(states).detach(),
        [
            attention.in_proj_weight.detach(),
            attention.in_proj_bias.detach(),
            attention.out_proj.weight.detach(),
            attention.out_proj.bias.detach(),
        ],
    )
    torch.testing.assert_close(vv_update(block, states).detach(), plain * block.ls_1.gamma.detach())


def test_gradient_reaches_tokens(weights):
    tokens = torch.randn(1, 4, WIDTH, dtype=torch.float64, requires_grad=True)
    doubles = [weight.double() for weight in weights]
    assert torch.autograd.gradcheck(lambda t: vv_attention(t, *doubles, HEADS), (tokens,))


def test_shapes_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match=r"expected in_proj_weight of shape \(24, 8\)"):
        vv_attention(torch.randn(1, 4, 8), *weights, HEADS)
    with pytest.raises(ValueError, match="num_heads divides, got 12 and 5"):
        vv_attention(torch.randn(1, 4, WIDTH), *weights, 5)


def test_plain_attention_is_told_from_variants():
    assert has_plain_attention(ResidualAttentionBlock(WIDTH, HEADS))
    assert has_plain_attention(CustomResidualAttentionBlock(WIDTH, HEADS))
    for option in ("qk_norm", "scale_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn"):
        block = CustomResidualAttentionBlock(WIDTH, HEADS, **{option: True})
        assert not has_plain_attention(block), option
