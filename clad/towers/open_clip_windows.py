"""Windows of WinCLIP: squares of patches, each a short sequence through the whole transformer.

Letters in shapes: B batch, C channels of the trunk, N windows, D shared embedding, T tokens of a
window (its patches and the class token).
"""

from __future__ import annotations

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

_TOKENS_AT_ONCE = 4096
"""Tokens in one batch of windows: enough to keep the hardware busy, and a bound on memory."""


def window_tokens(grid: tuple[int, int], side: int) -> Tensor:
    """(N, 1 + side^2) int64 positions in the full sequence of each window's tokens.

    Windows lie at stride 1, row by row, N = (height - side + 1) (width - side + 1); position 0 is
    the class token, which every window starts with.

    Args:
        grid: (height, width) in patches, both at least ``side``.
        side: Side of the windows in patches.
    """
    height, width = grid
    plane = 1 + torch.arange(height * width).view(height, width)
    patches = plane.unfold(0, side, 1).unfold(1, side, 1).flatten(0, 1).flatten(1)
    return torch.cat([torch.zeros(len(patches), 1, dtype=torch.int64), patches], 1)


def encode_windows(
    visual: VisionTransformer, states: Tensor, grid: tuple[int, int], side: int
) -> Tensor:
    """(B, N, D) projected class token of every window, not normalised.

    WinCLIP selects a window's tokens with their positional embedding, before ``ln_pre``. That norm
    acts on each token alone, so selecting after it, as here, is the same and norms each token once.
    All windows of a scale are batches of sequences of one length; nothing attends across windows.

    Args:
        visual: Transformer whose image vector is its class token.
        states: (B, 1 + height width, C) float, what enters the first block; class token first.
        grid: (height, width) in patches.
        side: Side of the windows in patches.

    Source: WinCLIP (Jeong et al., CVPR 2023, arXiv:2303.14814), window-based features.
    """
    tokens_NT = window_tokens(grid, side).to(states.device)
    count = len(tokens_NT)
    rows = torch.arange(len(states) * count, device=states.device)
    images, windows = rows // count, rows % count
    size = max(1, _TOKENS_AT_ONCE // tokens_NT.shape[1])
    found = [
        _class_tokens(visual, states[image[:, None], tokens_NT[window]])
        for image, window in zip(images.split(size), windows.split(size), strict=True)
    ]
    return (torch.cat(found) @ visual.proj).unflatten(0, (len(states), count))


def _class_tokens(visual: VisionTransformer, states_NTC: Tensor) -> Tensor:
    """(N, C) class token of each sequence after the last block and the final norm."""
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        states_NTC = block(states_NTC)
    pooled, _ = visual._pool(_first_of_block(last, states_NTC))
    return pooled


def _first_of_block(block: ResidualAttentionBlock, states_NTC: Tensor) -> Tensor:
    """What a block makes of the first token; the others serve as its keys and values only.

    Of the last block nothing else is wanted, and its queries and feed-forward layers are most of
    its work.
    """
    if not isinstance(block, ResidualAttentionBlock):
        return block(states_NTC)
    normed, first = block.ln_1(states_NTC), states_NTC[:, :1]
    update, _ = block.attn(normed[:, :1], normed, normed, need_weights=False)
    first = first + block.ls_1(update)
    return first + block.ls_2(block.mlp(block.ln_2(first)))
