"""MobileFaceNet: a face embedding of one million weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from clad.face_encoders.base import FaceEncoder
from clad.face_encoders.weights import build_network

_IMAGE_SIZE = (112, 96)
_EMBED_DIM = 128
_KEY = "net_state_dict"
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Expansion, channels, bottlenecks and stride of the first one, stage by stage."""


class MobileFaceNet(FaceEncoder):
    """128 numbers per face of 112 x 96 pixels, (x - 127.5) / 128; float32 like the network.

    Reads the checkpoints of ``Xiaoccer/MobileFaceNet_Pytorch``, which states no licence for its
    weights. It was trained on aligned, tightly cut faces (CASIA-WebFace, non-commercial).

    Source: MobileFaceNets (Chen et al., CCBR 2018, arXiv:1804.07573), in the form of that code.

    Args:
        weights: Its checkpoint, or a torch file of the same tensors; None only with
            ``allow_random``.
        centre: Share of each side of a crop that is looked at, around the middle, in (0, 1].
        allow_random: Accept random weights where no file is given, for trials of the machinery.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If weights are missing or belong to another network.
    """

    def __init__(
        self, weights: Path | None = None, centre: float = 1.0, allow_random: bool = False
    ) -> None:
        super().__init__(_IMAGE_SIZE, _EMBED_DIM, centre)
        self.network = build_network(MobileFaceNetwork, weights, allow_random, _KEY)
        self.freeze()

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 128) float32."""
        return self.network((pixels - 127.5) / 128)


class MobileFaceNetwork(nn.Module):
    """The layers, named as in the published checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        width, blocks = _STAGES[0][1], []
        self.conv1 = Convolution(3, width, 3, stride=2, padding=1)
        self.dw_conv1 = Convolution(width, width, 3, padding=1, depthwise=True)
        for expansion, channels, count, stride in _STAGES:
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(Bottleneck(width, channels, step, expansion))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = Convolution(width, 512, 1)
        self.linear7 = Convolution(512, 512, (7, 6), depthwise=True, is_linear=True)
        self.linear1 = Convolution(512, _EMBED_DIM, 1, is_linear=True)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 128) float."""
        states = self.blocks(self.dw_conv1(self.conv1(pixels)))
        return self.linear1(self.linear7(self.conv2(states))).flatten(1)


class Convolution(nn.Module):
    """Convolution, batch statistics and, unless linear, PReLU.

    Args:
        channels: That come in.
        width: That go out.
        kernel: Side, or (height, width).
        stride: Step.
        padding: Zeros on each side.
        depthwise: One group per channel that comes in.
        is_linear: Leave the PReLU out.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        depthwise: bool = False,
        is_linear: bool = False,
    ) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width)
        if not is_linear:
            self.prelu = nn.PReLU(width)
        self.is_linear = is_linear

    def forward(self, states: Tensor) -> Tensor:
        """(B, width, h, w) float."""
        states = self.bn(self.conv(states))
        return states if self.is_linear else self.prelu(states)


class Bottleneck(nn.Module):
    """Widen by 1 x 1, look around by 3 x 3 per channel, narrow by 1 x 1; residual where it fits.

    Args:
        channels: That come in.
        width: That go out.
        stride: Of the middle step.
        expansion: Factor in between.
    """

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.is_residual = stride == 1 and channels == width
        self.conv = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, states: Tensor) -> Tensor:
        """(B, width, h, w) float."""
        found = self.conv(states)
        return states + found if self.is_residual else found
