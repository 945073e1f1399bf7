"""Attention by torch's fused kernel: of tokens with each other, and among values alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_shape

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock


class FusedSelfAttention(nn.MultiheadAttention):
    """Self-attention whose matrix of weights is never written to memory.

    In evaluation ``nn.MultiheadAttention`` leaves the fused kernel for an older one: on a CPU that
    one holds all (B, heads, T, T) weights, and transposes the batch. Names of the weights are the
    same, and so is what comes out, up to rounding. Attention to other tokens than the queries' own
    goes the parent's way.
    """

    @classmethod
    def of(cls, attention: nn.MultiheadAttention) -> Self:
        """The same attention with the very same weights."""
        with torch.device("meta"):
            own = cls(attention.embed_dim, attention.num_heads, batch_first=True)
        own.in_proj_weight = attention.in_proj_weight
        own.in_proj_bias = attention.in_proj_bias
        own.out_proj = attention.out_proj
        return own.train(attention.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, C), and weights where they are asked for; arguments are the parent's."""
        is_self = query is key and key is value and query.ndim == 3
        # The kernel's Boolean masks say where to look, the parent's where not to.
        has_odd_mask = attn_mask is not None and not attn_mask.is_floating_point()
        is_odd = need_weights or is_causal or key_padding_mask is not None or has_odd_mask
        if not is_self or is_odd:
            return super().forward(
                query,
                key,
                value,
                key_padding_mask,
                need_weights,
                attn_mask,
                average_attn_weights,
                is_causal,
            )
        packed = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        parts = packed.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if attn_mask is None else attn_mask.to(packed.dtype)
        queries, keys, values = parts.unbind(0)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return functional.linear(
            mixed.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias
        ), None


def fuse_self_attention(model: nn.Module) -> None:
    """Put ``FusedSelfAttention`` where a model has plain self-attention; weights are shared."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.MultiheadAttention and _is_plain(child):
                setattr(parent, name, FusedSelfAttention.of(child))


def _is_plain(attention: nn.MultiheadAttention) -> bool:
    is_joint = attention.in_proj_weight is not None and attention.bias_k is None
    return (
        is_joint and attention.batch_first and not attention.dropout and not attention.add_zero_attn
    )


def value_heads(
    tokens: Tensor, in_proj_weight: Tensor, in_proj_bias: Tensor | None, num_heads: int
) -> Tensor:
    """(B, heads, T, C / heads) values of each token, head by head.

    Args:
        tokens: (B, T, C) float, already layer-normalised.
        in_proj_weight: (3C, C) float; queries, keys and values on top of each other.
        in_proj_bias: (3C,) float or None.
        num_heads: Divides C.

    Raises:
        ValueError: If shapes do not fit, or C is not a multiple of ``num_heads``.
    """
    width = tokens.shape[-1]
    expect_shape("tokens", tokens, (None, None, width))
    expect_shape("in_proj_weight", in_proj_weight, (3 * width, width))
    if width % num_heads:
        raise ValueError(f"expected a width that num_heads divides, got {width} and {num_heads}")
    bias = None if in_proj_bias is None else in_proj_bias[2 * width :]
    values_BTC = functional.linear(tokens, in_proj_weight[2 * width :], bias)
    return values_BTC.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def vv_attention(
    tokens: Tensor,
    in_proj_weight: Tensor,
    in_proj_bias: Tensor | None,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    num_heads: int,
) -> Tensor:
    """Self-attention with query = key = value: out_proj(softmax(v v^T / sqrt(C / heads)) v).

    A token attends to tokens like itself, not to the few that carry the whole image, so the result
    stays local. Weights are those of the ordinary attention; queries and keys are left out.

    Args:
        tokens: (B, T, C) float, already layer-normalised.
        in_proj_weight: (3C, C) float; queries, keys and values on top of each other.
        in_proj_bias: (3C,) float or None.
        out_proj_weight: (C, C) float.
        out_proj_bias: (C,) float or None.
        num_heads: Divides C.

    Returns:
        (B, T, C) float.

    Raises:
        ValueError: If shapes do not fit.

    Source: CLIP Surgery (Li et al., arXiv:2304.05653); as used in AnomalyCLIP (Zhou et al., ICLR
    2024, arXiv:2310.18961), section "refinement of the local visual space" (DPAM).
    """
    values = value_heads(tokens, in_proj_weight, in_proj_bias, num_heads)
    mixed = functional.scaled_dot_product_attention(values, values, values)
    return functional.linear(mixed.transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias)


def vv_update(block: ResidualAttentionBlock, states: Tensor) -> Tensor:
    """(B, T, C) what a transformer block adds to the V-V path; its feed-forward part is left out.

    Args:
        block: With ``ln_1``, ``attn`` and perhaps a layer scale ``ls_1``.
        states: (B, T, C) float input of the block on the *original* path.
    """
    attention = block.attn
    update = vv_attention(
        block.ln_1(states),
        attention.in_proj_weight,
        attention.in_proj_bias,
        attention.out_proj.weight,
        attention.out_proj.bias,
        attention.num_heads,
    )
    scale = getattr(block, "ls_1", None)
    return update if scale is None else scale(update)


def has_plain_attention(block: ResidualAttentionBlock) -> bool:
    """Whether the block's attention is softmax(q k^T) v with one joint projection, and no more."""
    attention = block.attn
    factors = (getattr(attention, name, None) for name in ("logit_scale", "head_scale"))
    norms = [getattr(attention, name, None) for name in ("ln_q", "ln_k", "ln_inner")]
    norms.append(getattr(block, "ln_attn", None))
    return (
        getattr(attention, "in_proj_weight", None) is not None
        and all(factor is None for factor in factors)
        and all(norm is None or isinstance(norm, nn.Identity) for norm in norms)
    )
