"""What the image trunks of open_clip yield layer by layer, each kind in its own words.

Letters in shapes: B batch, C channels of the trunk, P patches, D shared embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from open_clip.utils import to_2tuple
from torch import Tensor, nn
from torch.nn import functional

from clad.towers.attention import has_plain_attention, vv_update
from clad.towers.open_clip_trunk import (
    Trunk,
    TrunkOptions,
    TrunkOutput,
    Visual,
    at_least_float32,
)
from clad.towers.open_clip_windows import encode_windows


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
            has_class_token=visual.pool_type == "tok",
            takes_hook=True,
        )
    if isinstance(visual, ModifiedResNet):
        stages = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
        widths = (visual.conv3.out_channels, *(stage[-1].conv3.out_channels for stage in stages))
        return Trunk(
            encode_resnet,
            token_dims=widths,
            summary_dim=widths[-1],
            stride=(32, 32),
            is_convolutional=True,
        )
    if isinstance(visual, TimmModel) and hasattr(visual.trunk, "forward_intermediates"):
        layers = visual.trunk.feature_info
        return Trunk(
            encode_timm,
            token_dims=tuple(layer["num_chs"] for layer in layers),
            summary_dim=visual.trunk.num_features,
            stride=to_2tuple(layers[-1]["reduction"]),
            is_convolutional=not hasattr(visual.trunk, "patch_embed"),
        )
    raise ValueError(
        f"expected an image tower whose layers open_clip can hand out, got {type(visual).__name__} "
        f"in {name}; choose a ViT, a ResNet or a timm trunk with forward_intermediates"
    )


def encode_transformer(
    visual: VisionTransformer, pixels: Tensor, options: TrunkOptions
) -> TrunkOutput:
    """Features of open_clip's VisionTransformer.

    From block ``vv_from_layer`` (1-based) on, a second path collects what attention among values
    makes of the original path's tokens, x <- x + VV(ln_1(x_original)), without feed-forward layers.
    It feeds ``patches`` only; tokens, summary and pooled come from the original path.

    Where a graph is built, later blocks read ``tokens`` themselves, so that gradients of ``pooled``
    with respect to tokens of earlier layers are defined.

    Source: AnomalyCLIP (Zhou et al., ICLR 2024, arXiv:2310.18961), DPAM. There the image vector
    skips ``ln_post``, which ``cls_without_norm`` does here.
    """
    height, width = visual.patch_size
    grid = (pixels.shape[-2] // height, pixels.shape[-1] // width)
    original = local = embedded = visual._embeds(pixels)
    length = embedded.shape[1]
    assert options.layer_hook is None or options.vv_from_layer is None
    tokens, local_tokens = [], []
    for layer, block in enumerate(visual.transformer.resblocks, start=1):
        if options.layer_hook is not None:
            original = options.layer_hook(layer - 1, original)
        if options.vv_from_layer is not None and layer >= options.vv_from_layer:
            local = local + vv_update(block, original)
            original = block(original)
        else:
            original = local = block(original)
        if layer in options.layers:
            is_local = local is original
            layer_tokens, original = _tokens_on_path(original, length)
            local = original if is_local else local
            tokens.append(layer_tokens)
            local_tokens.append(local[:, 1:length])
    summary, _ = visual._pool(original[:, :length])
    return TrunkOutput(
        tokens=tuple(tokens),
        grids=(grid,) * len(tokens),
        summary=summary,
        pooled=(original[:, 0] if options.cls_without_norm else summary) @ visual.proj,
        patches=tuple(visual.ln_post(t) @ visual.proj for t in local_tokens),
        windows=tuple(encode_windows(visual, embedded, grid, s) for s in options.window_sides),
    )


def _tokens_on_path(states: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Patch tokens, and states of the same values that are computed from them if there is a graph.

    A slice alone would be a dead end: what follows would read the states beside it.
    """
    tokens = states[:, 1:length]
    if torch.is_grad_enabled() and states.requires_grad:
        tokens = at_least_float32(tokens)
        states = torch.cat([states[:, :1], tokens.to(states.dtype), states[:, length:]], 1)
    return tokens, states


def encode_resnet(visual: ModifiedResNet, pixels: Tensor, options: TrunkOptions) -> TrunkOutput:
    """Features of OpenAI's ResNets; layer 1 is the stem, 2 to 5 are the stages.

    Patches of the last stage take the value path of the attention pool (Zhou et al., "Extract Free
    Dense Labels from CLIP", ECCV 2022, arXiv:2112.01071); other stages have another width and no
    place in text space.
    """
    layers = options.layers
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


def encode_timm(visual: TimmModel, pixels: Tensor, options: TrunkOptions) -> TrunkOutput:
    """Features of a timm trunk with open_clip's head.

    A patch in text space is what pooling and head make of that patch alone, as if the image showed
    nothing else. Layers before the last have a place there only in plain transformers.
    """
    layers = options.layers
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


def set_image_size(visual: Visual, image_size: tuple[int, int], interpolation: str) -> None:
    """Let a trunk with loaded weights take images of another size.

    Args:
        visual: With position embeddings of its own grid.
        image_size: (height, width) wanted.
        interpolation: ``bicubic`` or ``bilinear``; timm's trunks know their own way only.

    Raises:
        ValueError: If the trunk is tied to its own size or way.
    """
    if isinstance(visual, VisionTransformer):
        grid = tuple(s // p for s, p in zip(image_size, visual.patch_size, strict=True))
        _resize_parameter(visual, visual.grid_size, grid, interpolation)
        visual.grid_size = grid
    elif isinstance(visual, ModifiedResNet):
        side, grid = visual.image_size // 32, (image_size[0] // 32, image_size[1] // 32)
        _resize_parameter(visual.attnpool, (side, side), grid, interpolation)
    else:
        if interpolation != "bicubic":
            raise ValueError(
                f"expected position_interpolation bicubic for a timm trunk, got {interpolation}; "
                "timm resizes its own position embeddings"
            )
        try:
            visual.set_input_size(image_size)
        except (AssertionError, TypeError, ValueError) as error:
            raise ValueError(
                f"expected a trunk that takes any image_size, got {error} for {image_size}; "
                "leave image_size null"
            ) from error
    visual.image_size = image_size


def _resize_parameter(
    module: VisionTransformer | AttentionPool2d,
    old_grid: Sequence[int],
    new_grid: Sequence[int],
    interpolation: str,
) -> None:
    resized = resize_position_embedding(
        module.positional_embedding.detach(), old_grid, new_grid, interpolation
    )
    learns = module.positional_embedding.requires_grad
    module.positional_embedding = nn.Parameter(resized, requires_grad=learns)


def resize_position_embedding(
    embedding: Tensor,
    old_grid: Sequence[int],
    new_grid: Sequence[int],
    interpolation: str = "bicubic",
) -> Tensor:
    """Position embeddings of another grid.

    Args:
        embedding: (1 + P, C) float, the class token first.
        old_grid: (height, width) of P.
        new_grid: (height, width) wanted.
        interpolation: ``bicubic`` with antialiasing as in open_clip, or ``bilinear`` without as in
            AnomalyCLIP.

    Returns:
        (1 + new P, C) float.
    """
    first, patches_PC = embedding[:1], embedding[1:]
    plane = patches_PC.T.reshape(1, -1, *old_grid)
    resized = functional.interpolate(
        plane,
        size=tuple(new_grid),
        mode=interpolation,
        antialias=interpolation == "bicubic",
        align_corners=False,
    )
    return torch.cat([first, resized.flatten(2)[0].T])
