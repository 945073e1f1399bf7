"""MesoNet: four small layers for faces, without words and without pretrained weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_choice
from clad.towers.base import Block, EncoderParts
from clad.towers.image_only import ImageOnlyTower
from clad.towers.pyramid import through_stages
from clad.types import ImageFeatures

_STRIDE = 32
_LAST_CHANNELS = 16
_HIDDEN = 16
_SLOPE = 0.1
_DROPOUT = 0.5
_VARIANTS = ("meso4", "meso_inception4")
# Keras' batch normalisation, in which the authors trained: what it adds to the variance, and how
# fast running statistics move.
_BATCH_EPSILON, _BATCH_MOMENTUM = 1e-3, 0.01


class MesoNetTower(ImageOnlyTower):
    """Meso4 or MesoInception4 up to the last layer, which the head brings.

    ``tokens`` are the maps after each of the four layers (strides 2, 4, 8, 32); ``summary`` is what
    the published network's single output unit sees, 16 numbers. With that unit there are 27,977 or
    28,615 weights, as published. It knows nothing before it is trained: use
    configs/tuning/full.yaml.

    Source: MesoNet (Afchar et al., WIFS 2018, arXiv:1809.00888) and its authors' Keras code; pixels
    in [0, 1]. Their squared error on one sigmoid is the head's and the loss's matter.

    Args:
        variant: ``meso4``, or ``meso_inception4`` whose first two layers look at several widths.
        image_size: Side in pixels, or (height, width), multiples of 32; 256 is the published one.
        random_seed: Decides the weights.

    Raises:
        ValueError: If a size or name does not fit.
    """

    summary_dim = _HIDDEN
    embed_dim = _HIDDEN

    def __init__(
        self,
        variant: Literal["meso4", "meso_inception4"] = "meso4",
        image_size: int | tuple[int, int] = 256,
        random_seed: int = 0,
    ) -> None:
        expect_choice("variant", variant, _VARIANTS)
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if any(side < _STRIDE or side % _STRIDE for side in size):
            raise ValueError(f"expected image_size in multiples of {_STRIDE}, got {image_size}")
        super().__init__((size[0], size[1]), (0.0,) * 3, (1.0,) * 3, "bilinear")
        positions = (size[0] // _STRIDE) * (size[1] // _STRIDE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            first = _meso4_layers() if variant == "meso4" else _inception_layers()
            last = [_layer(first[-1][0], _LAST_CHANNELS, 2), _layer(16, _LAST_CHANNELS, 4)]
            self.layers = nn.ModuleList([*(layer for _, layer in first), *last])
            self.hidden = nn.Linear(_LAST_CHANNELS * positions, _HIDDEN)
            self.apply(_as_keras)
        self.dropout = nn.Dropout(_DROPOUT)
        self.token_dims = (*(width for width, _ in first), _LAST_CHANNELS, _LAST_CHANNELS)
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Tokens after each layer (B, P_l, C_l), and the 16 hidden numbers."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        tokens, grids, last = through_stages(list(self.layers), range(4), pixels)
        hidden = self.hidden(self.dropout(last.flatten(1)))
        summary = self.dropout(functional.leaky_relu(hidden, _SLOPE))
        return ImageFeatures(tokens, grids, summary=summary)

    def image_parts(self) -> EncoderParts:
        """The four layers; then the hidden one."""
        blocks = zip(self.layers, self.token_dims, strict=True)
        return EncoderParts(
            tuple(Block(layer, width, channels_dim=1) for layer, width in blocks),
            tuple(self.hidden.parameters()),
        )


class _Inception(nn.Module):
    """Four convolutions side by side: 1 x 1, and 3 x 3 with one, two and three pixels between.

    Args:
        width: Channels that come in.
        widths: Channels of each of the four.
    """

    def __init__(self, width: int, widths: Sequence[int]) -> None:
        super().__init__()
        first, *others = widths
        self.single = nn.Conv2d(width, first, 1)
        self.narrow = nn.ModuleList(nn.Conv2d(width, each, 1) for each in others)
        self.wide = nn.ModuleList(
            nn.Conv2d(each, each, 3, padding=gap, dilation=gap)
            for gap, each in enumerate(others, start=1)
        )

    def forward(self, states: Tensor) -> Tensor:
        sides = [self.single(states)]
        sides += [
            wide(functional.relu(narrow(states)))
            for narrow, wide in zip(self.narrow, self.wide, strict=True)
        ]
        return torch.cat(sides, 1)


def _meso4_layers() -> list[tuple[int, nn.Module]]:
    return [(8, _finished(nn.Conv2d(3, 8, 3, padding=1), 8, 2)), (8, _layer(8, 8, 2))]


def _inception_layers() -> list[tuple[int, nn.Module]]:
    first, second = (1, 4, 4, 2), (2, 4, 4, 2)
    one, two = sum(first), sum(second)
    return [
        (one, _finished(_Inception(3, first), one, 2)),
        (two, _finished(_Inception(one, second), two, 2)),
    ]


def _layer(width_in: int, width: int, pool: int) -> nn.Module:
    return _finished(nn.Conv2d(width_in, width, 5, padding=2), width, pool)


def _finished(convolution: nn.Module, width: int, pool: int) -> nn.Module:
    norm = nn.BatchNorm2d(width, eps=_BATCH_EPSILON, momentum=_BATCH_MOMENTUM)
    return nn.Sequential(convolution, nn.ReLU(), norm, nn.MaxPool2d(pool))


def _as_keras(module: nn.Module) -> None:
    """Weights as Keras starts them."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
