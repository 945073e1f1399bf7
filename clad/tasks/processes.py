"""What several processes of one run tell each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def of_all_processes(own: T) -> Iterator[T]:
    """What each process has to tell, in the order of their ranks; one alone tells its own.

    Every process has to call it, and each gets the same. They come one at a time, so whoever adds
    them up holds no more than two.

    Args:
        own: What this process tells: plain data that can be pickled.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        yield own
        return
    for teller in range(distributed.get_world_size()):
        told = [own if teller == distributed.get_rank() else None]
        distributed.broadcast_object_list(told, src=teller)
        assert told[0] is not None
        yield told[0]


def rank() -> int:
    """Number of this process, from 0; the first one writes what is common to all."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return 0
