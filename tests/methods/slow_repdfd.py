"""RepDFD written out from its paper and code: one image at a time, in double precision.

It shares nothing with ``clad``: weights are named tensors of a CLIP. Letters in shapes: T tokens, C
width of a trunk, D shared embedding. Source: Lin et al., AAAI 2025, arXiv:2409.02664.
"""

from __future__ import annotations

import torch
from open_clip import SimpleTokenizer
from slow_anomalyclip import MEAN, STD, block, norm
from torch import Tensor

REAL, FAKE = "A real photo of a person", "A fake photo of a FE person"
LARGEST_LOG_SCALE = 4.6052


def border_mask(size: int, padding: int) -> Tensor:
    """(3, size, size): 1 on the border, 0 inside."""
    mask = torch.ones(3, size, size, dtype=torch.float64)
    mask[:, padding : size - padding, padding : size - padding] = 0
    return mask


def framed(image: Tensor, delta: Tensor, padding: int) -> Tensor:
    """(3, size, size) of a (3, size - 2p, size - 2p) uint8 image, which needs no resizing."""
    size = delta.shape[-1]
    assert image.shape[-1] == size - 2 * padding
    mean, std = (torch.tensor(c, dtype=torch.float64)[:, None, None] for c in (MEAN, STD))
    frame = torch.zeros(3, size, size, dtype=torch.float64)
    inside = slice(padding, size - padding)
    frame[:, inside, inside] = (image.double() / 255 - mean) / std
    return frame + delta * border_mask(size, padding)


def look(pixels: Tensor, state: dict[str, Tensor], heads: int) -> Tensor:
    """(D) image embedding of normalised pixels."""
    kernel = state["visual.conv1.weight"]
    side, tokens = kernel.shape[-1], [state["visual.class_embedding"]]
    for top in range(0, pixels.shape[1], side):
        for left in range(0, pixels.shape[2], side):
            patch = pixels[:, top : top + side, left : left + side]
            tokens.append((kernel * patch).sum((1, 2, 3)))
    x = torch.stack(tokens) + state["visual.positional_embedding"]
    x = norm(x, state, "visual.ln_pre")
    for layer in range(depth(state, "visual.transformer")):
        x = block(x, state, f"visual.transformer.resblocks.{layer}", heads)
    return norm(x[:1], state, "visual.ln_post")[0] @ state["visual.proj"]


def speak(
    sentence: str, state: dict[str, Tensor], heads: int, word: Tensor | None = None
) -> Tensor:
    """(D) embedding of a sentence; ``word`` (C) takes the place of the token FE."""
    tokenizer = SimpleTokenizer()
    ids = tokenizer(sentence)[0]
    rows = state["token_embedding.weight"][ids].clone()
    if word is not None:
        (face,) = (ids == tokenizer("FE")[0, 1]).nonzero().flatten().tolist()
        rows[face] = word
    x = rows + state["positional_embedding"]  # all 77, as in the code
    for layer in range(depth(state, "transformer")):
        x = block(x, state, f"transformer.resblocks.{layer}", heads, causal=True)
    return norm(x, state, "ln_final")[ids.argmax()] @ state["text_projection"]


def depth(state: dict[str, Tensor], trunk: str) -> int:
    return sum(name.startswith(f"{trunk}.resblocks.") and "ln_1.weight" in name for name in state)


def logits(
    image: Tensor, face: Tensor, delta: Tensor, padding: int, state: dict[str, Tensor],
    projection: Tensor, heads: tuple[int, int],
) -> Tensor:  # fmt: skip
    """(2) of (real, fake) for one image and its face embedding."""
    seen = look(framed(image, delta, padding), state, heads[0])
    words = (
        speak(REAL, state, heads[1]),
        speak(FAKE, state, heads[1], projection @ face),
    )
    scale = state["logit_scale"].clamp(0, LARGEST_LOG_SCALE).exp()
    return torch.stack([scale * (seen @ w) / (seen.norm() * w.norm()) for w in words])


def cross_entropy(rows: list[Tensor], labels: list[int]) -> Tensor:
    losses = [
        -torch.log(row.exp()[label] / row.exp().sum())
        for row, label in zip(rows, labels, strict=True)
    ]
    return sum(losses) / len(losses)
