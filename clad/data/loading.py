"""What the data module decides before it loads anything."""

from __future__ import annotations

import os

from clad.data.images import Size
from clad.synthesis.base import Synthesizer

_MAX_WORKERS = 8
_FEW_IMAGES = 200
"""Below this, starting workers costs more than they save."""


def choose_num_workers(wanted: int | None, num_images: int) -> int:
    """Loader processes: those wanted, else half the cores, none for few images."""
    if wanted is not None:
        return wanted
    if num_images < _FEW_IMAGES:
        return 0
    return min(_MAX_WORKERS, max(1, num_cores() // 2))


def expect_generator(is_paired: bool, synthesis: Synthesizer | None) -> bool:
    """Whether batches are paired.

    Raises:
        ValueError: If they are to be, but nothing makes the partners.
    """
    if is_paired and synthesis is None:
        raise ValueError(
            "expected data.synthesis for data.paired_synthesis, got none; name a generator "
            "(configs/synthesis/, configs/forgery/)"
        )
    return is_paired


def as_size(image_size: int | tuple[int, int]) -> Size:
    """(height, width) of a side or a pair.

    Raises:
        ValueError: If it is neither.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"expected image_size to be a side or (height, width) of at least 1, got {image_size}"
        )
    return size[0], size[1]


def num_cores() -> int:
    """Cores that this process may use; in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
