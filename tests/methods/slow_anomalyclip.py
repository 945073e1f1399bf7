"""AnomalyCLIP written out from its paper and code: plain loops in double precision.

It shares nothing with ``clad``: weights are named tensors of a CLIP, and each formula is spelled
out. Letters in shapes: T tokens, C width of the trunk, P patches, D shared embedding.
Source: Zhou et al., ICLR 2024, arXiv:2310.18961.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from open_clip import SimpleTokenizer
from scipy import ndimage
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
TEMPERATURE = 0.07
SIGMA_PX = 4


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * state[f"{name}.weight"] + state[f"{name}.bias"]


def attention(
    x_TC: Tensor,
    state: dict[str, Tensor],
    name: str,
    num_heads: int,
    causal: bool = False,
    among_values: bool = False,
) -> Tensor:
    """Head by head; ``among_values`` takes values for queries and keys."""
    width = x_TC.shape[1]
    weight, bias = state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"]
    q, k, v = (
        x_TC @ weight[n * width : (n + 1) * width].T + bias[n * width : (n + 1) * width]
        for n in range(3)
    )
    if among_values:
        q = k = v
    size, heads = width // num_heads, []
    for head in range(num_heads):
        own = slice(head * size, (head + 1) * size)
        logits = q[:, own] @ k[:, own].T / math.sqrt(size)
        if causal:
            later = torch.ones_like(logits).triu(1).bool()
            logits = logits.masked_fill(later, -math.inf)
        heads.append(logits.softmax(1) @ v[:, own])
    out = torch.cat(heads, 1)
    return out @ state[f"{name}.out_proj.weight"].T + state[f"{name}.out_proj.bias"]


def feed_forward(x_TC: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    inner = x_TC @ state[f"{name}.c_fc.weight"].T + state[f"{name}.c_fc.bias"]
    inner = inner * torch.sigmoid(1.702 * inner)
    return inner @ state[f"{name}.c_proj.weight"].T + state[f"{name}.c_proj.bias"]


def block(
    x_TC: Tensor, state: dict[str, Tensor], name: str, heads: int, causal: bool = False
) -> Tensor:
    x = x_TC + attention(norm(x_TC, state, f"{name}.ln_1"), state, f"{name}.attn", heads, causal)
    return x + feed_forward(norm(x, state, f"{name}.ln_2"), state, f"{name}.mlp")


def line(old: int, new: int) -> Tensor:
    """(new, old) weights of linear interpolation between pixel centres, without antialiasing."""
    weights = torch.zeros(new, old, dtype=torch.float64)
    for row in range(new):
        place = max((row + 0.5) * old / new - 0.5, 0.0)
        low = min(int(place), old - 1)
        weights[row, low] += 1 - (place - low)
        weights[row, min(low + 1, old - 1)] += place - low
    return weights


def enlarge(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w) -> size."""
    return line(plane.shape[0], size[0]) @ plane @ line(plane.shape[1], size[1]).T


def positions(state: dict[str, Tensor], grid: tuple[int, int]) -> Tensor:
    """(1 + P, C) position embeddings of the grid, the class token's first."""
    stored = state["visual.positional_embedding"]
    side = math.isqrt(len(stored) - 1)
    planes = [enlarge(c.reshape(side, side), grid).flatten() for c in stored[1:].T]
    return torch.cat([stored[:1], torch.stack(planes, 1)])


def look(
    image: Tensor, state: dict[str, Tensor], heads: int, layers: list[int], vv_from: int
) -> tuple[Tensor, list[Tensor], tuple[int, int]]:
    """Image vector (D), patches of each layer (P, D), grid; of one (3, H, W) uint8 image."""
    mean, std = (torch.tensor(c, dtype=torch.float64)[:, None, None] for c in (MEAN, STD))
    pixels = (image.double() / 255 - mean) / std
    kernel = state["visual.conv1.weight"]
    side = kernel.shape[-1]
    grid = (pixels.shape[1] // side, pixels.shape[2] // side)
    tokens = [state["visual.class_embedding"]]
    for row in range(grid[0]):
        for column in range(grid[1]):
            top, left = row * side, column * side
            patch = pixels[:, top : top + side, left : left + side]
            tokens.append((kernel * patch).sum((1, 2, 3)))
    x = norm(torch.stack(tokens) + positions(state, grid), state, "visual.ln_pre")
    local, patches = None, []
    for layer in range(1, max(layers) + 1):
        name = f"visual.transformer.resblocks.{layer - 1}"
        if layer >= vv_from:
            start = x if local is None else local
            entering = norm(x, state, f"{name}.ln_1")
            local = start + attention(
                entering, state, f"{name}.attn", heads, among_values=True
            )  # no feed-forward on this path
        x = block(x, state, name, heads)
        if layer in layers:
            source = x if local is None else local
            projected = norm(source, state, "visual.ln_post") @ state["visual.proj"]
            patches.append(projected[1:])
    return x[0] @ state["visual.proj"], patches, grid  # the class token skips ln_post


def speak(state: dict[str, Tensor], heads: int, context: Tensor, deep: Tensor) -> Tensor:
    """(2, D) unit vectors of the normal and the anomalous sentence.

    Args:
        context: (2, n, C) learnable tokens of each sentence.
        deep: (layers, m, C) tokens for the second and following text layers.
    """
    tokenizer, rows = SimpleTokenizer(), []
    count, width = context.shape[1], deep.shape[1]
    depth = sum(".ln_1.weight" in n for n in state if n.startswith("transformer.resblocks."))
    for learnt, words in zip(context, ("object.", "damaged object."), strict=True):
        ids = tokenizer(" ".join(["X"] * count) + " " + words)[0]
        x = state["token_embedding.weight"][ids]
        x = torch.cat([x[:1], learnt, x[1 + count :]]) + state["positional_embedding"]
        for layer in range(depth):
            if 1 <= layer <= len(deep):
                x = torch.cat([x[:1], deep[layer - 1], x[1 + width :]])
            x = block(x, state, f"transformer.resblocks.{layer}", heads, causal=True)
        end = int(ids.argmax())
        rows.append(norm(x, state, "ln_final")[end] @ state["text_projection"])
    texts = torch.stack(rows)
    return texts / texts.norm(dim=1, keepdim=True)


def probabilities(vectors: Tensor, texts: Tensor) -> Tensor:
    """(..., 2) normal, anomalous."""
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    return (unit @ texts.T / TEMPERATURE).softmax(-1)


def score(image_vector: Tensor, texts: Tensor) -> float:
    return probabilities(image_vector, texts)[1].item()


def anomaly_map(
    patches: list[Tensor], texts: Tensor, grid: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """(H, W), the sum over layers."""
    total = torch.zeros(size, dtype=torch.float64)
    for layer in patches:
        normal, anomalous = probabilities(layer, texts).unbind(1)
        total += (
            enlarge(anomalous.reshape(grid), size) + 1 - enlarge(normal.reshape(grid), size)
        ) / 2
    return ndimage.gaussian_filter(total.detach().numpy(), SIGMA_PX)


def focal(normal: Tensor, anomalous: Tensor, mask: Tensor, smooth: float) -> Tensor:
    """Per pixel; ``smooth`` as the published code adds it to targets and probabilities."""
    target = mask.double().clamp(smooth, 1 - smooth)
    p = target * anomalous + (1 - target) * normal + smooth
    return -((1 - p) ** 2) * p.log()


def dice(p: Tensor, target: Tensor) -> Tensor:
    return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


def loss(
    seen: list[tuple[Tensor, list[Tensor], tuple[int, int]]],
    texts: Tensor,
    labels: list[int],
    masks: Tensor,
    smooth: float = 0.0,
) -> Tensor:
    """Cross-entropy of images + 4 x the sum over layers of focal, dice and inverse dice."""
    total = torch.zeros((), dtype=torch.float64)
    for (image_vector, patches, grid), label, mask in zip(seen, labels, masks, strict=True):
        total = total - probabilities(image_vector, texts)[label].log() / len(seen)
        for layer in patches:
            both = probabilities(layer, texts).T
            normal, anomalous = (enlarge(p.reshape(grid), tuple(mask.shape)) for p in both)
            target = mask.double()
            local = focal(normal, anomalous, mask, smooth).mean()
            local = local + dice(anomalous, target) + dice(normal, 1 - target)
            total = total + 4 * local / len(seen)
    return total
