"""Blocks and final weights of open_clip's encoders: what tuning may train or wrap."""

from __future__ import annotations

from collections.abc import Iterator

import open_clip
from open_clip.hf_model import HFTextEncoder
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import nn

from clad.towers.base import Block, EncoderParts

_TIMM_LAYERS = ("blocks", "stages", "layers")
_TIMM_FINAL = ("norm", "fc_norm", "norm_head", "attn_pool", "head")


def image_parts(visual: VisionTransformer | ModifiedResNet | TimmModel) -> EncoderParts:
    """Blocks and final weights of an image encoder.

    A transformer's are its blocks, then norm and projection; a ResNet's are its bottlenecks, then
    the attention pool; a timm trunk's are its blocks or stages, then norm, pool and head.

    Raises:
        ValueError: If a timm trunk keeps its layers in a way we do not know.
    """
    if isinstance(visual, VisionTransformer):
        width = visual.conv1.out_channels
        blocks = tuple(Block(block, width) for block in visual.transformer.resblocks)
        return EncoderParts(blocks, tuple(_weights(visual.ln_post, visual.proj)))
    if isinstance(visual, ModifiedResNet):
        stages = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        blocks = tuple(
            Block(block, block.conv3.out_channels, channels_dim=1)
            for stage in stages
            for block in stage
        )
        return EncoderParts(blocks, tuple(visual.attnpool.parameters()))
    return _timm_parts(visual)


def _timm_parts(visual: TimmModel) -> EncoderParts:
    trunk = visual.trunk
    name = next((n for n in _TIMM_LAYERS if isinstance(getattr(trunk, n, None), nn.Module)), None)
    layers = [] if name is None else list(getattr(trunk, name).children())
    widths = [layer["num_chs"] for layer in trunk.feature_info]
    if len(layers) != len(widths):
        raise ValueError(
            f"expected a timm trunk with one block or stage for each of its {len(widths)} layers, "
            f"got {len(layers)} in {type(trunk).__name__}; use configs/tuning/frozen.yaml or "
            "full.yaml"
        )
    # Trunks that embed patches work on tokens (or maps with channels last), the others on maps.
    channels_dim = -1 if hasattr(trunk, "patch_embed") else 1
    final = (getattr(trunk, part, None) for part in _TIMM_FINAL)
    return EncoderParts(
        tuple(Block(*pair, channels_dim) for pair in zip(layers, widths, strict=True)),
        tuple(_weights(*final, visual.head)),
    )


def text_parts(text: open_clip.CLIP | TextTransformer | HFTextEncoder) -> EncoderParts:
    """Transformer blocks of a text encoder; then norm and projection.

    Raises:
        ValueError: If it is a Hugging Face model.
    """
    _expect_own(text)
    width = text.transformer.width
    blocks = tuple(Block(block, width) for block in text.transformer.resblocks)
    return EncoderParts(blocks, tuple(_weights(text.ln_final, text.text_projection)))


def replace_projection(
    text: open_clip.CLIP | TextTransformer | HFTextEncoder, projection: nn.Module
) -> None:
    """Put a module where the text projection (often a bare matrix) was.

    Raises:
        ValueError: If it is a Hugging Face model.
    """
    _expect_own(text)
    del text.text_projection
    text.text_projection = projection


def _expect_own(text: nn.Module) -> None:
    if isinstance(text, HFTextEncoder):
        raise ValueError(
            "expected one of open_clip's own text towers, got a Hugging Face model; "
            "tune the image encoder only"
        )


def _weights(*parts: nn.Module | nn.Parameter | None) -> Iterator[nn.Parameter]:
    """Weights of modules and bare parameters; None has none."""
    for part in parts:
        if isinstance(part, nn.Parameter):
            yield part
        elif part is not None:
            yield from part.parameters()
