"""AdaCLIP written out from its paper and code: plain loops in double precision.

It shares nothing with ``clad``: weights are named tensors of a CLIP and of the learned parts, and
each formula is spelled out. Letters in shapes: T tokens, C width of a trunk, P patches, D shared
embedding, J prompted layers, M prompt tokens.
Source: Cao et al., ECCV 2024, arXiv:2407.15795.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from open_clip import SimpleTokenizer
from scipy import ndimage
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SCALE = 100
TOKENIZER = SimpleTokenizer()
NORMAL = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ANOMALOUS = ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage")
TEMPLATES = (
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
)


@dataclass
class Learned:
    """The learned parts, as AdaCLIP's code has them.

    Args:
        image_static: (J, M, C).
        image_dynamic: M pairs of weight (C, D) and bias (C,).
        text_static: (J, M, W); the first layer's are never read.
        text_dynamic: M pairs of weight (W, D) and bias (W,).
        patch_layers: One pair of weight (D, C) and bias (D,) per chosen layer.
        image_layer: Weight (D, D) and bias (D,).
    """

    image_static: Tensor
    image_dynamic: list[tuple[Tensor, Tensor]]
    text_static: Tensor
    text_dynamic: list[tuple[Tensor, Tensor]]
    patch_layers: list[tuple[Tensor, Tensor]]
    image_layer: tuple[Tensor, Tensor]


def linear(x: Tensor, layer: tuple[Tensor, Tensor]) -> Tensor:
    weight, bias = layer
    return x @ weight.T + bias


def norm(x: Tensor, clip: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * clip[f"{name}.weight"] + clip[f"{name}.bias"]


def block(x: Tensor, clip: dict[str, Tensor], name: str, heads: int, causal: bool) -> Tensor:
    """A transformer block on (T, C) states, head by head."""
    normed = norm(x, clip, f"{name}.ln_1")
    stacked = linear(
        normed, (clip[f"{name}.attn.in_proj_weight"], clip[f"{name}.attn.in_proj_bias"])
    )
    queries, keys, values = stacked.chunk(3, dim=1)
    size, mixed = x.shape[1] // heads, []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        logits = queries[:, own] @ keys[:, own].T / math.sqrt(size)
        if causal:
            logits = logits.masked_fill(torch.ones_like(logits).triu(1).bool(), -math.inf)
        mixed.append(logits.softmax(1) @ values[:, own])
    out = (clip[f"{name}.attn.out_proj.weight"], clip[f"{name}.attn.out_proj.bias"])
    x = x + linear(torch.cat(mixed, 1), out)
    first, last = (
        (clip[f"{name}.mlp.{part}.weight"], clip[f"{name}.mlp.{part}.bias"])
        for part in ("c_fc", "c_proj")
    )
    return x + linear(functional.gelu(linear(norm(x, clip, f"{name}.ln_2"), first)), last)


def encode_image(
    image: Tensor,
    clip: dict[str, Tensor],
    heads: int,
    layers: tuple[int, ...],
    prompts: list[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Embedding (D,) before unit length, and patch tokens (P, C) of the chosen layers.

    Args:
        image: (3, H, W) uint8.
        clip: Weights.
        heads: Of the attention.
        layers: 1-based.
        prompts: J tensors (M, C); None encodes plainly.
    """
    pixels = image.double() / 255
    pixels = (pixels - torch.tensor(MEAN).double()[:, None, None]) / torch.tensor(STD).double()[
        :, None, None
    ]
    kernel = clip["visual.conv1.weight"]
    side = kernel.shape[-1]
    rows = [
        (kernel * pixels[:, top : top + side, left : left + side]).sum((1, 2, 3))
        for top in range(0, pixels.shape[1], side)
        for left in range(0, pixels.shape[2], side)
    ]
    x = torch.stack([clip["visual.class_embedding"], *rows])
    x = norm(x + clip["visual.positional_embedding"], clip, "visual.ln_pre")
    length, found = len(x), []
    count = len({name.split(".")[3] for name in clip if name.startswith("visual.transformer.resb")})
    for layer in range(count):
        if prompts is not None and layer == 0:
            x = torch.cat([x, prompts[0]])
        elif prompts is not None and layer < len(prompts):
            x = torch.cat([x[: len(x) - len(prompts[layer])], prompts[layer]])
        x = block(x, clip, f"visual.transformer.resblocks.{layer}", heads, causal=False)
        if layer + 1 in layers:
            found.append(x[1:length])
    return norm(x[0], clip, "visual.ln_post") @ clip["visual.proj"], found


def encode_text(
    text: str, clip: dict[str, Tensor], heads: int, prompts: list[Tensor] | None = None
) -> Tensor:
    """(D,) embedding; before layer i = 1 ... J - 1 the prompts go over positions 1 to M."""
    words = [TOKENIZER.sot_token_id, *TOKENIZER.encode(text), TOKENIZER.eot_token_id]
    # What the code pads up to 77 tokens comes after the end, where causal attention never looks.
    x = clip["token_embedding.weight"][torch.tensor(words)]
    x = x + clip["positional_embedding"][: len(words)]
    count = len({name.split(".")[2] for name in clip if name.startswith("transformer.resblocks")})
    for layer in range(count):
        if prompts is not None and 0 < layer < len(prompts):
            x = torch.cat([x[:1], prompts[layer], x[1 + len(prompts[layer]) :]])
        x = block(x, clip, f"transformer.resblocks.{layer}", heads, causal=True)
    return norm(x[-1], clip, "ln_final") @ clip["text_projection"]


def hybrid(static: Tensor, dynamic: list[tuple[Tensor, Tensor]], plain: Tensor) -> list[Tensor]:
    """J tensors (M, C): one linear layer per position, the same for each layer, plus static."""
    made = torch.stack([linear(plain, layer) for layer in dynamic])
    return [made + static[layer] for layer in range(len(static))]


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def prototypes(
    class_name: str, clip: dict[str, Tensor], heads: int, prompts: list[Tensor] | None
) -> Tensor:
    """(2, D) normal and anomalous."""
    sides = []
    for states in (NORMAL, ANOMALOUS):
        total = torch.zeros(clip["text_projection"].shape[1]).double()
        for state in states:
            for template in TEMPLATES:
                text = template.replace("{}", state.replace("{}", class_name))
                total = total + unit(encode_text(text, clip, heads, prompts))
        sides.append(unit(total))
    return torch.stack(sides)


def fused(
    image: Tensor, patches: list[Tensor], text: Tensor, num_clusters: int, share: float = 0.2
) -> Tensor:
    """(D,) unit image vector after semantic fusion, as in AdaCLIP's code."""
    logits = torch.stack([SCALE * layer @ text.T for layer in patches]).mean(0)
    anomalous = logits.softmax(1)[:, 1].tolist()
    ranked = sorted(range(len(anomalous)), key=lambda patch: -anomalous[patch])
    chosen = ranked[: 5 * num_clusters]
    stacked = torch.cat([layer[chosen] for layer in patches], dim=1).detach().numpy()
    kmeans = KMeans(min(num_clusters, len(chosen)), n_init=1, random_state=0)
    labels = kmeans.fit_predict(stacked.astype("float32"))
    centroids = []
    for cluster in sorted(set(labels.tolist())):
        own = [patch for patch, label in zip(chosen, labels, strict=True) if label == cluster]
        centroids.append(torch.cat([layer[own] for layer in patches]).mean(0))
    return unit(share * unit(torch.stack(centroids).mean(0)) + (1 - share) * unit(image))


@dataclass
class Answer:
    """What comes out for one image.

    Args:
        image_logits: (2,).
        patch_logits: L tensors (P, 2).
        text: (2, D) prototypes.
    """

    image_logits: Tensor
    patch_logits: list[Tensor]
    text: Tensor


def look(
    image: Tensor,
    class_name: str,
    clip: dict[str, Tensor],
    heads: tuple[int, int],
    layers: tuple[int, ...],
    learned: Learned,
    num_clusters: int,
) -> Answer:
    """One image through both encoders; ``heads`` are those of image and text."""
    plain, _ = encode_image(image, clip, heads[0], layers)
    plain = plain.detach()
    image_prompts = hybrid(learned.image_static, learned.image_dynamic, plain)
    text_prompts = hybrid(learned.text_static, learned.text_dynamic, plain)
    vector, tokens = encode_image(image, clip, heads[0], layers, image_prompts)
    text = prototypes(class_name, clip, heads[1], text_prompts)
    pairs = zip(tokens, learned.patch_layers, strict=True)
    patches = [unit(linear(layer, weights)) for layer, weights in pairs]
    image_vector = fused(linear(vector, learned.image_layer), patches, text, num_clusters)
    patch_logits = [SCALE * layer @ text.T for layer in patches]
    return Answer(SCALE * text @ image_vector, patch_logits, text)


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(2, H, W) logits of a square grid at image size."""
    side = math.isqrt(len(logits))
    grid = logits.T.reshape(1, 2, side, side)
    return functional.interpolate(grid, size, mode="bilinear", align_corners=False)[0]


def anomaly_map(patch_logits: list[Tensor], size: tuple[int, int], sigma_px: float) -> np.ndarray:
    """(H, W): logits enlarged, averaged over layers, made a probability, blurred."""
    mean = torch.stack([enlarged(logits, size) for logits in patch_logits]).mean(0)
    normal, anomalous = mean.softmax(0).detach().numpy()
    return ndimage.gaussian_filter((anomalous + 1 - normal) / 2, sigma_px)


def focal(probability: Tensor, target: Tensor) -> Tensor:
    """Mean over positions of (1 - p)^2 (-log p), p of the true class; probability is (2, ...)."""
    true = torch.where(target > 0, probability[1], probability[0])
    return ((1 - true) ** 2 * -true.log()).mean()


def dice(probability: Tensor, target: Tensor) -> Tensor:
    """One minus the overlap of each row of pixels, averaged: (H, W) each."""
    rows = [
        1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        for p, t in zip(probability, target, strict=True)
    ]
    return torch.stack(rows).mean()


def loss(answer: Answer, label: int, mask: Tensor) -> Tensor:
    """The training objective of one image; mask is (H, W), 1 where anomalous."""
    total = focal(answer.image_logits.softmax(0), torch.tensor(label))
    for logits in answer.patch_logits:
        normal, anomalous = enlarged(logits, mask.shape).softmax(0)
        total = total + focal(torch.stack([normal, anomalous]), mask)
        total = total + dice(anomalous, mask) + dice(normal, 1 - mask)
    return total
