"""Images -> what the tower says of them, with no more of a graph than is needed."""

from __future__ import annotations

import torch
from torch import Tensor

from clad.inputs.base import InputTransform
from clad.towers.base import Tower
from clad.types import ImageFeatures


def encode_images(
    images: Tensor,
    tower: Tower,
    inputs: InputTransform | None = None,
    differentiates: bool = False,
) -> ImageFeatures:
    """The tower's features; without a graph where neither it nor the inputs learn.

    Args:
        images: (B, 3, H, W) uint8.
        tower: Encodes them.
        inputs: What happens to normalised pixels before; None for nothing.
        differentiates: Build the graph from pixels on, whatever learns.
    """
    pixels = tower.prepare(images) if inputs is None else inputs.prepare(images, tower)
    if differentiates:
        pixels = pixels.requires_grad_()
    if inputs is not None:
        pixels = inputs(pixels)
    learns = pixels.requires_grad or any(p.requires_grad for p in tower.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
        features: ImageFeatures = tower(pixels)
        if inputs is not None:
            features = inputs.restore(features)
    # A sum's last digit follows the layout in memory; features from a cache are contiguous.
    return features if learns else features.map(Tensor.contiguous)
