"""A small convolutional image encoder from random weights, beside MiniLM words."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from clad.towers.base import Block, EncoderParts
from clad.towers.minilm import MiniLMTower
from clad.towers.pyramid import STRIDES, expect_pyramid, through_stages
from clad.types import ImageFeatures

_GROUPS = 8
"""Of the group normalisation, which needs no running statistics and takes batches of any size."""


class SimpleCnn(MiniLMTower):
    """Five 3 x 3 convolutions of stride 2, random at the start, and all-MiniLM-L6-v2 for words.

    It knows nothing before it is trained: use it with a ``tuning`` that lets the image side learn,
    and to see what a pretrained encoder is worth. Layers have ``width``, 2, 4, 8 and 16 times that
    many channels.

    Source: CLAD (arXiv:2412.00890), the row "simple CNN encoder" of table 2, which describes the
    encoder no further; this one is ours.

    Args:
        image_size: Side in pixels, or (height, width); multiples of 32.
        strides: Pixels per patch of each layer of tokens; of 2, 4, 8, 16, 32, increasing.
        width: Channels of the first layer, a multiple of 8.
        random_seed: Decides the weights.

    Raises:
        ImportError: If a package is missing, with the command that installs it.
        ValueError: If a size, stride or width does not fit.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] = 256,
        strides: tuple[int, ...] = (8, 16, 32),
        width: int = 16,
        random_seed: int = 0,
    ) -> None:
        size, self.layers = expect_pyramid(image_size, strides)
        if width < _GROUPS or width % _GROUPS:
            raise ValueError(f"expected a width in multiples of {_GROUPS}, got {width}")
        super().__init__(size, (0.5,) * 3, (0.5,) * 3, "bilinear")
        widths = [3, *(width * 2**level for level in range(len(STRIDES)))]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            self.image_model = nn.Sequential(*(_stage(*pair) for pair in pairwise(widths)))
        self.image_model.to(memory_format=torch.channels_last)
        self._widths = widths[1:]
        self.token_dims = tuple(widths[layer + 1] for layer in self.layers)
        self.summary_dim = widths[-1]
        self.load_text()
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Tokens of the chosen strides (B, P_l, C_l), and the mean of the last map."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        tokens, grids, last = through_stages(list(self.image_model), self.layers, pixels)
        return ImageFeatures(tokens, grids, summary=last.mean((2, 3)))

    def image_parts(self) -> EncoderParts:
        """The five convolutions, each with its normalisation; nothing comes after them."""
        blocks = zip(self.image_model, self._widths, strict=True)
        return EncoderParts(tuple(Block(each, width, channels_dim=1) for each, width in blocks), ())


def _stage(width_in: int, width_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, kernel_size=3, stride=2, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, width_out),
        nn.ReLU(inplace=True),
    )
