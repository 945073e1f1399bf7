"""Any image model of timm, without words: the baselines of the forgery literature."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from clad.checks import expect_choice
from clad.towers.base import EncoderParts
from clad.towers.image_only import ImageOnlyTower
from clad.towers.timm_model import (
    expect_one_normalisation,
    load_model,
    read_name,
    read_parts,
    set_image_size,
)
from clad.towers.weight_files import RANDOM
from clad.types import ImageFeatures

INTERPOLATIONS = ("bilinear", "bicubic")


class TimmImageTower(ImageOnlyTower):
    """A network of timm without its classifier: Xception, EfficientNet, ViT and hundreds more.

    ``tokens`` are raw maps of the chosen layers; ``summary`` is what the network's own classifier
    would be given. There is no space shared with text. Size, mean, standard deviation and
    interpolation are those of the weights.

    Source: timm (Wightman, doi:10.5281/zenodo.4414861).

    Args:
        model_name: ``architecture.tag`` such as ``legacy_xception.tf_in1k``. The tag names one of
            timm's trained weights and with them the pixel statistics; it may be left out for
            random weights, and for a file where all of the architecture's weights agree on them.
        pretrained: ``download`` for the tag's weights (once), the path of a .pth, .pt, .bin or
            .safetensors file, or ``random``. There is no default: a tower never falls back to
            random weights.
        random_seed: Decides random weights.
        image_size: (height, width) or one number for both; None is the weights' own. Position
            embeddings are interpolated.
        layers: Layers whose patch tokens come out, 1-based and ascending: transformer blocks or
            stages, as timm's ``feature_info`` lists them. None is the last.
        mean: Per-channel mean in [0, 1] units; None is the weights' own.
        std: Per-channel standard deviation in [0, 1] units; None is the weights' own.
        interpolation: How images are resized; None is the weights' own.

    Raises:
        FileNotFoundError: If weights are not there and cannot be downloaded.
        ValueError: If a name is unknown or arguments do not fit each other or the weights.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: str | None = None,
        random_seed: int = 0,
        image_size: int | tuple[int, int] | None = None,
        layers: tuple[int, ...] | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        interpolation: Literal["bilinear", "bicubic"] | None = None,
    ) -> None:
        name = read_name(model_name)
        if pretrained != RANDOM and (mean is None or std is None):
            expect_one_normalisation(name)
        config = name.config
        how = interpolation or config["interpolation"]
        expect_choice("interpolation", how, INTERPOLATIONS)
        own: tuple[int, int] = tuple(config["input_size"][1:])
        size = own if image_size is None else _pair(image_size)
        super().__init__(size, mean or config["mean"], std or config["std"], how)
        model: Any = load_model(name, pretrained, random_seed)
        set_image_size(model, name, size)
        self.model = model.to(memory_format=torch.channels_last)
        self.layers, self.token_dims = _choose(model, layers, str(name))
        self.summary_dim = getattr(model, "head_hidden_size", model.num_features)
        self.embed_dim = self.summary_dim
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Tokens of the chosen layers (B, P_l, C_l), and what a classifier would be given."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        last, maps = self.model.forward_intermediates(
            pixels, indices=[layer - 1 for layer in self.layers], output_fmt="NCHW"
        )
        return ImageFeatures(
            tokens=tuple(each.flatten(2).transpose(1, 2) for each in maps),
            grids=tuple((each.shape[-2], each.shape[-1]) for each in maps),
            summary=self.model.forward_head(last, pre_logits=True),
        )

    def image_parts(self) -> EncoderParts:
        """The layers that timm groups, stem left out; then what follows the last."""
        parts = read_parts(self.model, self.image_size)
        return super().image_parts() if parts is None else parts


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _choose(
    model: nn.Module, layers: tuple[int, ...] | None, name: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Layers and their widths.

    Raises:
        ValueError: If the model gives no layers, or not these.
    """
    info: Any = getattr(model, "feature_info", None)
    if not hasattr(model, "forward_intermediates") or not info:
        raise ValueError(
            f"expected a model of timm that gives its layers, got {name}, which has no "
            "forward_intermediates; choose another, such as tf_efficientnet_b4"
        )
    widths = [layer["num_chs"] for layer in getattr(info, "info", info)]
    chosen = (len(widths),) if layers is None else tuple(layers)
    if not chosen or list(chosen) != sorted(set(chosen) & set(range(1, len(widths) + 1))):
        raise ValueError(
            f"expected layers of {name} between 1 and {len(widths)}, ascending, got {chosen}"
        )
    return chosen, tuple(widths[layer - 1] for layer in chosen)
