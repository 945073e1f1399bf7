"""Features and logits made of plain numbers, for heads without a tower."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from clad.types import Alignment, ImageFeatures


def tower(*widths: int, image_size: tuple[int, int] = (8, 8)) -> SimpleNamespace:
    """What a head asks of a tower when it is attached."""
    return SimpleNamespace(token_dims=widths, image_size=image_size)


def features_of(*maps: Tensor) -> ImageFeatures:
    """Features whose layers are the given (B, C, h, w) maps."""
    return ImageFeatures(
        tokens=tuple(each.flatten(2).transpose(1, 2) for each in maps),
        grids=tuple((each.shape[-2], each.shape[-1]) for each in maps),
        summary=torch.zeros(len(maps[0]), 1),
    )


def random_features(count: int, widths=(3, 5), grids=((4, 4), (2, 2)), seed=0) -> ImageFeatures:
    generator = torch.Generator().manual_seed(seed)
    return features_of(
        *(
            torch.randn(count, width, *grid, generator=generator)
            for width, grid in zip(widths, grids, strict=True)
        )
    )


def alignment_of(image: list[float], patches: list[Tensor]) -> Alignment:
    """Logits whose differences (anomalous minus normal) are the given ones.

    Args:
        image: B differences.
        patches: L tensors (B, h, w) of differences.
    """
    normal = 1.5
    return Alignment(
        image_logits=torch.tensor([[normal, normal + each] for each in image]),
        patch_logits=tuple(
            torch.stack([torch.full_like(p.flatten(1), normal), p.flatten(1) + normal], -1)
            for p in patches
        ),
        grids=tuple((p.shape[-2], p.shape[-1]) for p in patches),
    )


def observed(head, features: ImageFeatures, categories: tuple[str, ...]):
    """The head after it has seen normal images."""
    head.start_reference()
    head.observe(features, categories)
    head.finish_reference()
    return head
