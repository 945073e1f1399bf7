"""What the image trunks of open_clip yield layer by layer, each kind in its own words.

Letters in shapes: B batch, C channels of the trunk, P patches, D shared embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from open_clip.utils import to_2tuple
from torch import Tensor, nn
from torch.nn import functional

from clad.towers.attention import has_plain_attention, vv_update

Visual: TypeAlias = VisionTransformer | ModifiedResNet | TimmModel


@dataclass(frozen=True)
class TrunkOutput:
    """Features before any unit length.

    Args:
        tokens: L tensors (B, P_l, C_l), patch tokens of the chosen layers.
        grids: L pairs (height, width).
        summary: (B, C) the trunk's own image vector.
        pooled: (B, D) what ``encode_image`` yields.
        patches: L tensors (B, P_l, D); None if some chosen layer has no place in text space.
    """

    tokens: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    summary: Tensor
    pooled: Tensor
    patches: tuple[Tensor, ...] | None


@dataclass(frozen=True)
class Trunk:
    """A kind of trunk.

    Args:
        encode: (visual, pixels, layers, vv_from_layer) -> features.
        token_dims: Width of each of the trunk's layers, the first layer first.
        summary_dim: Width of ``summary``.
        stride: Pixels per patch (height, width) of the last layer; other image sizes than the
            trunk's own must be multiples of it, or maps would be shifted.
        has_vv: Whether it has attention blocks that can run on values alone.
    """

    encode: Callable[[Visual, Tensor, Sequence[int], int | None], TrunkOutput]
    token_dims: tuple[int, ...]
    summary_dim: int
    stride: tuple[int, int]
    has_vv: bool = False


def read_trunk(visual: Visual, name: str) -> Trunk:
    """How to read layers of this image tower.

    Raises:
        ValueError: If its layers cannot be read.
    """
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        blocks = visual.transformer.resblocks
        width = visual.conv1.out_channels
        return Trunk(
            encode_transformer,
            token_dims=(width,) * len(blocks),
            summary_dim=width,
            stride=to_2tuple(visual.patch_size),
            has_vv=all(has_plain_attention(block) for block in blocks),
        )
    if isinstance(visual, ModifiedResNet):
        stages = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
        widths = (visual.conv3.out_channels, *(stage[-1].conv3.out_channels for stage in stages))
        return Trunk(encode_resnet, widths, summary_dim=widths[-1], stride=(32, 32))
    if isinstance(visual, TimmModel) and hasattr(visual.trunk, "forward_intermediates"):
        layers = visual.trunk.feature_info
        return Trunk(
            encode_timm,
            token_dims=tuple(layer["num_chs"] for layer in layers),
            summary_dim=visual.trunk.num_features,
            stride=to_2tuple(layers[-1]["reduction"]),
        )
    raise ValueError(
        f"expected an image tower whose layers open_clip can hand out, got {type(visual).__name__} "
        f"in {name}; choose a ViT, a ResNet or a timm trunk with forward_intermediates"
    )


def encode_transformer(
    visual: VisionTransformer, pixels: Tensor, layers: Sequence[int], vv_from_layer: int | None
) -> TrunkOutput:
    """Features of open_clip's VisionTransformer.

    From block ``vv_from_layer`` (1-based) on, a second path collects what attention among values
    makes of the original path's tokens, x <- x + VV(ln_1(x_original)), without feed-forward layers.
    It feeds ``patches`` only; tokens, summary and pooled come from the original path.

    Source: AnomalyCLIP (Zhou et al., ICLR 2024, arXiv:2310.18961), DPAM. There the image vector
    skips ``ln_post``; here it is CLIP's own.
    """
    height, width = visual.patch_size
    grid = (pixels.shape[-2] // height, pixels.shape[-1] // width)
    original = local = visual._embeds(pixels)
    tokens, local_tokens = [], []
    for layer, block in enumerate(visual.transformer.resblocks, start=1):
        if vv_from_layer is not None and layer >= vv_from_layer:
            local = local + vv_update(block, original)
            original = block(original)
        else:
            original = local = block(original)
        if layer in layers:
            tokens.append(original[:, 1:])
            local_tokens.append(local[:, 1:])
    summary, _ = visual._pool(original)
    return TrunkOutput(
        tokens=tuple(tokens),
        grids=(grid,) * len(tokens),
        summary=summary,
        pooled=summary @ visual.proj,
        patches=tuple(visual.ln_post(t) @ visual.proj for t in local_tokens),
    )


def encode_resnet(
    visual: ModifiedResNet, pixels: Tensor, layers: Sequence[int], vv_from_layer: int | None
) -> TrunkOutput:
    """Features of OpenAI's ResNets; layer 1 is the stem, 2 to 5 are the stages.

    Patches of the last stage take the value path of the attention pool (Zhou et al., "Extract Free
    Dense Labels from CLIP", ECCV 2022, arXiv:2112.01071); other stages have another width and no
    place in text space.
    """
    assert vv_from_layer is None
    chosen = sorted({*layers, 5})
    output = visual.forward_intermediates(pixels, indices=[layer - 1 for layer in chosen])
    maps = dict(zip(chosen, output["image_intermediates"], strict=True))
    last_BPC = _flat(maps[5])
    pool = visual.attnpool
    patches = (pool.c_proj(pool.v_proj(last_BPC)),) if tuple(layers) == (5,) else None
    return TrunkOutput(
        tokens=tuple(_flat(maps[layer]) for layer in layers),
        grids=tuple(_grid(maps[layer]) for layer in layers),
        summary=last_BPC.mean(1),
        pooled=output["image_features"],
        patches=patches,
    )


def encode_timm(
    visual: TimmModel, pixels: Tensor, layers: Sequence[int], vv_from_layer: int | None
) -> TrunkOutput:
    """Features of a timm trunk with open_clip's head.

    A patch in text space is what pooling and head make of that patch alone, as if the image showed
    nothing else. Layers before the last have a place there only in plain transformers.
    """
    assert vv_from_layer is None
    trunk, depth = visual.trunk, len(visual.trunk.feature_info)
    final, maps = trunk.forward_intermediates(
        pixels, indices=[layer - 1 for layer in layers], output_fmt="NCHW"
    )
    tokens = tuple(_flat(layer_map) for layer_map in maps)
    final_BPC = _final_patches(visual, final)
    is_plain = final.ndim == 3 and isinstance(getattr(trunk, "norm", None), nn.Module)
    normed = []
    for layer, layer_tokens in zip(layers, tokens, strict=True):
        if layer == depth:
            normed.append(final_BPC)
        elif is_plain:
            normed.append(trunk.norm(layer_tokens))
    return TrunkOutput(
        tokens=tokens,
        grids=tuple(_grid(layer_map) for layer_map in maps),
        summary=final_BPC.mean(1),
        pooled=visual.head(trunk.forward_head(final)),
        patches=(
            tuple(_pool_alone(visual, x, final) for x in normed)
            if len(normed) == len(tokens)
            else None
        ),
    )


def _final_patches(visual: TimmModel, final: Tensor) -> Tensor:
    if final.ndim == 3:
        return final[:, getattr(visual.trunk, "num_prefix_tokens", 0) :]
    return final.flatten(1, 2) if _is_channels_last(visual) else _flat(final)


def _is_channels_last(visual: TimmModel) -> bool:
    return getattr(visual.trunk, "output_fmt", "NCHW") == "NHWC"


def _pool_alone(visual: TimmModel, tokens_BPC: Tensor, final: Tensor) -> Tensor:
    """(B, P, D) each token pooled and projected as the only content of an image."""
    trunk = visual.trunk
    single = tokens_BPC.flatten(0, 1)
    if final.ndim == 3:
        # Copies stand in for class tokens: every way of pooling then returns the token itself.
        image = single[:, None].expand(-1, getattr(trunk, "num_prefix_tokens", 0) + 1, -1)
    elif _is_channels_last(visual):
        image = single[:, None, None, :]
    else:
        image = single[:, :, None, None]
    pooled = visual.head(trunk.forward_head(image))
    return pooled.unflatten(0, tokens_BPC.shape[:2])


def _flat(maps_BCHW: Tensor) -> Tensor:
    return maps_BCHW.flatten(2).transpose(1, 2)


def _grid(maps_BCHW: Tensor) -> tuple[int, int]:
    return maps_BCHW.shape[-2], maps_BCHW.shape[-1]


def set_image_size(visual: Visual, image_size: tuple[int, int]) -> None:
    """Let a trunk with loaded weights take images of another size.

    Raises:
        ValueError: If the trunk is tied to its own size.
    """
    if isinstance(visual, VisionTransformer):
        grid = tuple(s // p for s, p in zip(image_size, visual.patch_size, strict=True))
        _resize_parameter(visual, visual.grid_size, grid)
        visual.grid_size = grid
    elif isinstance(visual, ModifiedResNet):
        side = visual.image_size // 32
        _resize_parameter(visual.attnpool, (side, side), (image_size[0] // 32, image_size[1] // 32))
    else:
        try:
            visual.set_input_size(image_size)
        except (AssertionError, TypeError, ValueError) as error:
            raise ValueError(
                f"expected a trunk that takes any image_size, got {error} for {image_size}; "
                "leave image_size null"
            ) from error
    visual.image_size = image_size


def _resize_parameter(
    module: VisionTransformer | AttentionPool2d, old_grid: Sequence[int], new_grid: Sequence[int]
) -> None:
    resized = resize_position_embedding(module.positional_embedding.detach(), old_grid, new_grid)
    learns = module.positional_embedding.requires_grad
    module.positional_embedding = nn.Parameter(resized, requires_grad=learns)


def resize_position_embedding(
    embedding: Tensor, old_grid: Sequence[int], new_grid: Sequence[int]
) -> Tensor:
    """Position embeddings of another grid, bicubic with antialiasing as in open_clip.

    Args:
        embedding: (1 + P, C) float, the class token first.
        old_grid: (height, width) of P.
        new_grid: (height, width) wanted.

    Returns:
        (1 + new P, C) float.
    """
    first, patches_PC = embedding[:1], embedding[1:]
    plane = patches_PC.T.reshape(1, -1, *old_grid)
    resized = functional.interpolate(
        plane, size=tuple(new_grid), mode="bicubic", antialias=True, align_corners=False
    )
    return torch.cat([first, resized.flatten(2)[0].T])
