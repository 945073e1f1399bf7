"""What is asked of an image trunk of open_clip, what it answers, and which questions fit it.

Letters in shapes: B batch, C channels of the trunk, P patches, N windows, D shared embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor

from clad.towers.base import LayerHook

Visual: TypeAlias = VisionTransformer | ModifiedResNet | TimmModel


@dataclass(frozen=True)
class TrunkOptions:
    """What to read, and how.

    Args:
        layers: Chosen layers, 1-based and ascending.
        vv_from_layer: Block from which patches take the value path, or None.
        cls_without_norm: Whether ``pooled`` skips the final norm.
        window_sides: Side in patches of each scale of windows.
        layer_hook: ``(layer index from 0, (B, 1 + P, C) states) -> states``, called before each
            block; what it appends behind the patches takes part in attention and is left out of the
            answer. Not together with the value path.
    """

    layers: tuple[int, ...]
    vv_from_layer: int | None = None
    cls_without_norm: bool = False
    window_sides: tuple[int, ...] = ()
    layer_hook: LayerHook | None = None


@dataclass(frozen=True)
class TrunkOutput:
    """Features before any unit length.

    Args:
        tokens: L tensors (B, P_l, C_l), patch tokens of the chosen layers.
        grids: L pairs (height, width).
        summary: (B, C) the trunk's own image vector.
        pooled: (B, D) what ``encode_image`` yields.
        patches: L tensors (B, P_l, D); None if some chosen layer has no place in text space.
        windows: One tensor (B, N, D) per scale.
    """

    tokens: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    summary: Tensor
    pooled: Tensor
    patches: tuple[Tensor, ...] | None
    windows: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Trunk:
    """A kind of trunk.

    Args:
        encode: (visual, pixels, options) -> features.
        token_dims: Width of each of the trunk's layers, the first layer first.
        summary_dim: Width of ``summary``.
        stride: Pixels per patch (height, width) of the last layer; other image sizes than the
            trunk's own must be multiples of it, or maps would be shifted.
        has_vv: Whether it has attention blocks that can run on values alone.
        has_class_token: Whether it is open_clip's transformer with the class token as image vector.
        takes_hook: Whether it calls ``layer_hook``.
        is_convolutional: Whether its maps are faster with channels last in memory.
    """

    encode: Callable[[Visual, Tensor, TrunkOptions], TrunkOutput]
    token_dims: tuple[int, ...]
    summary_dim: int
    stride: tuple[int, int]
    has_vv: bool = False
    has_class_token: bool = False
    takes_hook: bool = False
    is_convolutional: bool = False


def at_least_float32(features: Tensor) -> Tensor:
    """The same in float32 if it came in half precision, which cannot hold unit length."""
    return features.float() if features.itemsize < 4 else features


def expect_fitting_size(size: tuple[int, int], trunk: Trunk) -> None:
    """Refuse an image size that cuts patches.

    Raises:
        ValueError: With a size that fits.
    """
    pairs = list(zip(size, trunk.stride, strict=True))
    if any(side < 1 or side % step for side, step in pairs):
        fits = tuple(max(1, round(side / step)) * step for side, step in pairs)
        raise ValueError(
            f"expected image_size in multiples of {trunk.stride} (height, width), got {size}; "
            f"{fits} fits"
        )


def choose_layers(layers: Sequence[int] | None, trunk: Trunk, name: str) -> tuple[int, ...]:
    """The chosen layers; None is the last.

    Raises:
        ValueError: If they are not there, or not ascending.
    """
    depth = len(trunk.token_dims)
    chosen = (depth,) if layers is None else tuple(layers)
    in_range = all(1 <= layer <= depth for layer in chosen)
    if not chosen or not in_range or list(chosen) != sorted(set(chosen)):
        raise ValueError(
            f"expected ascending layers from 1 to {depth} for {name}, got {list(chosen)}; "
            "write e.g. [6, 12]"
        )
    return chosen


def expect_fitting_options(
    options: TrunkOptions, trunk: Trunk, image_size: tuple[int, int], name: str
) -> None:
    """Refuse what this trunk cannot do.

    Raises:
        ValueError: With what would fit.
    """
    first, last = options.vv_from_layer, max(options.layers)
    if first is not None and not trunk.has_vv:
        raise ValueError(
            f"expected open_clip's own VisionTransformer with plain attention for vv_from_layer, "
            f"got {name}; set it to null"
        )
    if first is not None and not 1 <= first <= last:
        raise ValueError(
            f"expected vv_from_layer between 1 and the last chosen layer {last}, got {first}; "
            "otherwise no patch would come from that path"
        )
    for option in ("cls_without_norm", "window_sides"):
        if getattr(options, option) and not trunk.has_class_token:
            raise ValueError(
                f"expected open_clip's own VisionTransformer with a class token as image vector "
                f"for {option}, got {name}; leave it out, or choose e.g. ViT-B-16-plus-240"
            )
    sides = options.window_sides
    most = min(side // step for side, step in zip(image_size, trunk.stride, strict=True))
    if any(not 1 <= side <= most for side in sides) or len(set(sides)) != len(sides):
        raise ValueError(
            f"expected different window_sides from 1 to {most}, the shorter side of the patch "
            f"grid, got {list(sides)}; WinCLIP's are [2, 3]"
        )
