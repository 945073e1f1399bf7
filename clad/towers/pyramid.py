"""Convolutional trunks whose maps halve from stage to stage: what their towers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

STRIDES = (2, 4, 8, 16, 32)
"""Pixels per position of a trunk's five levels."""


def expect_pyramid(
    image_size: int | tuple[int, int], strides: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, ...]]:
    """(height, width), and the level of each stride.

    Raises:
        ValueError: If a side is no multiple of 32, or a stride is unknown or out of order.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or any(side < 32 or side % 32 for side in size):
        raise ValueError(f"expected image_size in multiples of 32, got {image_size}")
    if not strides or sorted(set(strides) & set(STRIDES)) != list(strides):
        raise ValueError(f"expected strides among {STRIDES}, increasing, got {strides}")
    return (size[0], size[1]), tuple(STRIDES.index(stride) for stride in strides)


def through_stages(
    stages: Sequence[Callable[[Tensor], Tensor]], chosen: Sequence[int], pixels: Tensor
) -> tuple[tuple[Tensor, ...], tuple[tuple[int, int], ...], Tensor]:
    """Tokens (B, P_l, C_l) and grids after the chosen stages, and the map (B, C, h, w) after all.

    Later stages read the very tokens that are handed out, so that the derivative of anything by
    them (Grad-CAM) is the network's own. It costs no copy: a map with channels last has them in
    the tokens' order.
    """
    tokens, grids, states = [], [], pixels
    for position, stage in enumerate(stages):
        states = stage(states)
        if position in chosen:
            grid = (states.shape[-2], states.shape[-1])
            layer = states.flatten(2).transpose(1, 2)
            states = layer.transpose(1, 2).unflatten(2, grid)
            tokens.append(layer)
            grids.append(grid)
    return tuple(tokens), tuple(grids), states
