"""SqueezeFacePoseNet: a SqueezeNet that keeps the resolution of small faces."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.face_encoders.base import FaceEncoder
from clad.face_encoders.weights import build_network

MEAN = (131.0912, 103.8827, 91.4953)
"""Of red, green and blue in [0, 255]; there is no division."""

_SIDE = 113
_EMBED_DIM = 1000
_FIRES = ((64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128), (256, 48, 192),
          (384, 48, 192), (384, 64, 256), (512, 64, 256))  # fmt: skip
"""Channels of fire2 to fire9: in, squeezed, and out of each of the two expansions."""

_POOL_AFTER = (4, 8)


class SqueezeFacePoseNet(FaceEncoder):
    """1000 numbers per face from 1,235,496 weights, or from 694,056 with grouped convolutions.

    SqueezeNet 1.1 whose first convolution has stride 1, so that faces of 113 x 113 pixels keep
    27 x 27 positions up to the eighth fire module; no normalisation layers. Max pools of 3/2 have
    no padding (113, 56, 27, 13); the last convolution has a ReLU before the global average. The
    dropout of its training does nothing here.

    The authors publish MATLAB files; ``weights`` are tensors of the same values by the names
    ``conv1``, ``fire2.squeeze``, ``fire2.expand1``, ``fire2.expand3`` ... ``conv10``. Weights
    inherit the non-commercial terms of MS-Celeb-1M and VGGFace2.

    Source: Alonso-Fernandez et al., ICPR workshops 2020, arXiv:2007.08566, and the layers of
    its published model.

    Args:
        weights: torch file of these tensors; None only with ``allow_random``.
        separable: Whether 3 x 3 expansions are grouped: one group per squeezed channel, four
            filters each.
        centre: Share of each side of a crop that is looked at, around the middle, in (0, 1].
        allow_random: Accept random weights where no file is given, for trials of the machinery.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If weights are missing or belong to another network.
    """

    mean: Tensor

    def __init__(
        self,
        weights: Path | None = None,
        separable: bool = False,
        centre: float = 1.0,
        allow_random: bool = False,
    ) -> None:
        super().__init__((_SIDE, _SIDE), _EMBED_DIM, centre)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.network = build_network(lambda: SqueezeNetwork(separable), weights, allow_random)
        self.freeze()

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 1000) float32, >= 0."""
        return self.network(pixels - self.mean)


class SqueezeNetwork(nn.Module):
    """The layers.

    Args:
        separable: As in ``SqueezeFacePoseNet``.
    """

    def __init__(self, separable: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _FIRES[0][0], 3, padding=1)
        for number, (channels, squeezed, expanded) in enumerate(_FIRES, 2):
            self.add_module(f"fire{number}", Fire(channels, squeezed, expanded, separable))
        self.conv10 = nn.Conv2d(2 * _FIRES[-1][2], _EMBED_DIM, 1)
        for module in self.modules():
            if isinstance(
                module, nn.Conv2d
            ):  # without norms, torch's own start fades to a constant
                nn.init.kaiming_normal_(module.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 1000) float."""
        states = functional.max_pool2d(self.conv1(pixels).relu(), 3, 2)
        for number in range(2, 2 + len(_FIRES)):
            states = self.get_submodule(f"fire{number}")(states)
            if number in _POOL_AFTER:
                states = functional.max_pool2d(states, 3, 2)
        return self.conv10(states).relu().mean((2, 3))


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1 x 1 and 3 x 3 side by side.

    Args:
        channels: That come in.
        squeezed: Between the two steps.
        expanded: Of each expansion; twice as many come out.
        separable: Whether the 3 x 3 expansion is grouped.
    """

    def __init__(self, channels: int, squeezed: int, expanded: int, separable: bool) -> None:
        super().__init__()
        groups = squeezed if separable else 1
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3 = nn.Conv2d(squeezed, expanded, 3, padding=1, groups=groups)

    def forward(self, states: Tensor) -> Tensor:
        """(B, 2 x expanded, h, w) float of (B, channels, h, w)."""
        squeezed = self.squeeze(states).relu()
        return torch.cat([self.expand1(squeezed), self.expand3(squeezed)], 1).relu()
