"""EfficientNet-Lite0 in plain torch; importing timm for it alone would take longer than scoring."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

_STEM, _HEAD = 32, 1280
_EPS, _MOMENTUM = 1e-3, 0.1


class _Stage(NamedTuple):
    """One row of the network's table: how its blocks look, and how many there are."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    repeats: int


_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
STAGE_ENDS = (1, 2, 3, 5, 7)
"""Stage, counted from the stem, after which each of the strides 2, 4, 8, 16, 32 is complete."""
STAGE_CHANNELS = tuple(_STAGES[end - 1].channels for end in STAGE_ENDS)


class EfficientNetLite0(nn.Module):
    """(B, 3, H, W) normalised pixels -> (B, classes) logits.

    Names and order of its tensors are those of timm's ``tf_efficientnet_lite0``. As TensorFlow
    does, strided convolutions pad more at the bottom and right.

    Source: EfficientNet (Tan and Le, ICML 2019, arXiv:1905.11946), table 1, in Google's Lite
    variant: ReLU6, no squeeze and excitation, stem and head of fixed width.

    Args:
        num_classes: Rows of the classifier.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv_stem = _SameConv(3, _STEM, 3, stride=2)
        self.bn1 = _Norm(_STEM)
        stages, width = [], _STEM
        for stage in _STAGES:
            blocks: list[nn.Module] = []
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                if stage.expansion == 1:
                    blocks.append(_Separable(width, stage.channels, stage.kernel))
                else:
                    blocks.append(_Inverted(width, stage, stride))
                width = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(width, _HEAD, 1, bias=False)
        self.bn2 = _Norm(_HEAD)
        self.classifier = nn.Linear(_HEAD, num_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, classes) logits."""
        states = self.blocks(self.bn1(self.conv_stem(pixels)))
        return self.classifier(self.pool(self.bn2(self.conv_head(states))))

    def pool(self, states: Tensor) -> Tensor:
        """(B, C) means of (B, C, h, w)."""
        return functional.adaptive_avg_pool2d(states, 1).flatten(1)


class _SameConv(nn.Conv2d):
    """Convolution without bias whose output has ceil(size / stride) positions.

    TensorFlow pads even sizes by one more at the end than at the start. Here both ends get the
    larger number, and the kernel a row and a column of zeros at its start: the same sums, without
    a padded copy of the states, which costs several times what a convolution by channel does.
    """

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(inner, outer, kernel, stride, groups=groups, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """(B, outer, ceil(h / stride), ceil(w / stride))."""
        up, down = _padding(states.shape[-2], self.kernel_size[0], self.stride[0])
        left, right = _padding(states.shape[-1], self.kernel_size[1], self.stride[1])
        kernel = functional.pad(self.weight, (right - left, 0, down - up, 0))
        return functional.conv2d(
            states, kernel, self.bias, self.stride, (down, right), groups=self.groups
        )


class _Norm(nn.BatchNorm2d):
    """Batch normalisation, and ReLU6 after it where asked for."""

    def __init__(self, channels: int, clips: bool = True) -> None:
        super().__init__(channels, eps=_EPS, momentum=_MOMENTUM)
        # Under this name clad/towers/folding.py finds what stays when the norm is merged.
        self.act = nn.ReLU6(inplace=True) if clips else nn.Identity()

    def forward(self, states: Tensor) -> Tensor:
        """Normalised, clipped to [0, 6] where asked for."""
        found: Tensor = self.act(super().forward(states))
        return found


class _Separable(nn.Module):
    """A convolution per channel, then one across channels."""

    def __init__(self, inner: int, outer: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(
            inner, inner, kernel, padding=kernel // 2, groups=inner, bias=False
        )
        self.bn1 = _Norm(inner)
        self.conv_pw = nn.Conv2d(inner, outer, 1, bias=False)
        self.bn2 = _Norm(outer, clips=False)

    def forward(self, states: Tensor) -> Tensor:
        """(B, outer, h, w)."""
        return self.bn2(self.conv_pw(self.bn1(self.conv_dw(states))))


class _Inverted(nn.Module):
    """Widen, convolve per channel, narrow; added to what came in where the shapes agree."""

    def __init__(self, inner: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = inner * stage.expansion
        self.conv_pw = nn.Conv2d(inner, wide, 1, bias=False)
        self.bn1 = _Norm(wide)
        self.conv_dw: nn.Conv2d
        if stride == 1:
            self.conv_dw = nn.Conv2d(
                wide, wide, stage.kernel, padding=stage.kernel // 2, groups=wide, bias=False
            )
        else:
            self.conv_dw = _SameConv(wide, wide, stage.kernel, stride, groups=wide)
        self.bn2 = _Norm(wide)
        self.conv_pwl = nn.Conv2d(wide, stage.channels, 1, bias=False)
        self.bn3 = _Norm(stage.channels, clips=False)
        self.is_residual = stride == 1 and inner == stage.channels

    def forward(self, states: Tensor) -> Tensor:
        """(B, channels, ceil(h / stride), ceil(w / stride))."""
        wide = self.bn2(self.conv_dw(self.bn1(self.conv_pw(states))))
        found = self.bn3(self.conv_pwl(wide))
        return found + states if self.is_residual else found


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after."""
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2
