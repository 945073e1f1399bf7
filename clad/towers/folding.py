"""Batch norms that no longer learn, merged into the convolutions before them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from clad.towers.base import Tower
from clad.types import ImageFeatures

LARGEST_DIFFERENCE = 1e-3
"""Of a feature, in shares of the largest in its tensor; rounding makes a hundredth of it."""


@torch.no_grad()
def fold_batch_norms(tower: Tower) -> int:
    """Merge each batch norm of the image encoder into the convolution before it.

    In evaluation both are linear, so one convolution does what the two did, and a pass over each
    map is saved. Weights get other names: do this to a tower that is in no checkpoint.

    Args:
        tower: In evaluation mode, frozen.

    Returns:
        How many were merged; 0 where no batch norm follows a convolution.

    Raises:
        ValueError: If features are others than before, because something else reads what a
            convolution gives.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules()):
        return 0
    shape = (1, 3, *tower.image_size)
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(tower.mean.device)
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    before = _encode_and_note(tower, pixels, pairs)
    for convolution, norm in pairs:
        merged = fuse_conv_bn_eval(convolution, norm)
        _replace(tower, norm, getattr(norm, "act", nn.Identity()))
        _replace(tower, convolution, merged)
    tower.freeze()
    if pairs:
        _expect_same(before, tower.encode_pixels(pixels), tower)
    return len(pairs)


def _encode_and_note(
    tower: Tower, pixels: Tensor, pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]]
) -> ImageFeatures:
    """Features; fills ``pairs`` with each convolution whose output a batch norm is given."""
    last: list[tuple[nn.Conv2d, Tensor]] = []
    calls: dict[nn.Module, int] = {}

    def after_convolution(module: nn.Module, args: object, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        calls[module] = calls.get(module, 0) + 1
        last[:] = [(module, output)]

    def before_norm(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        calls[module] = calls.get(module, 0) + 1
        if last and args[0] is last[0][1]:
            pairs.append((last[0][0], module))

    with ExitStack() as hooks:
        for module in tower.modules():
            if isinstance(module, nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(after_convolution))
            elif isinstance(module, nn.BatchNorm2d) and _is_foldable(module):
                hooks.enter_context(module.register_forward_pre_hook(before_norm))
        features = tower.encode_pixels(pixels)
    pairs[:] = [pair for pair in pairs if all(calls[module] == 1 for module in pair)]
    return features


def _is_foldable(norm: nn.BatchNorm2d) -> bool:
    """Whether it is torch's own, or timm's with an activation behind it, and has statistics."""
    is_known = type(norm) is nn.BatchNorm2d or isinstance(getattr(norm, "act", None), nn.Module)
    has_drop = not isinstance(getattr(norm, "drop", nn.Identity()), nn.Identity)
    return is_known and not has_drop and not norm.training and norm.running_mean is not None


def _replace(tower: Tower, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever the tower holds ``old``."""
    for parent in list(tower.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)


def _expect_same(before: ImageFeatures, after: ImageFeatures, tower: Tower) -> None:
    for old, new in zip(_tensors(before), _tensors(after), strict=True):
        largest = float(old.abs().max())
        difference = float((old - new).abs().max())
        if not difference <= LARGEST_DIFFERENCE * largest:
            raise ValueError(
                f"expected the features of {type(tower).__name__} to stay within "
                f"{LARGEST_DIFFERENCE * largest:.2g} when batch norms are merged, got a difference "
                f"of {difference:.2g}; set model.execution.fold_batch_norm to false"
            )


def _tensors(features: ImageFeatures) -> Iterator[Tensor]:
    yield from features.tokens
    yield features.summary
