"""Seconds by the name of what was done; nothing of it runs unless somebody asks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

DECODE, WAIT, TRANSFER, ENCODE = "decode", "wait for data", "transfer", "encode"
WORDS, HEAD, METRICS, WRITE, OTHER = "words", "head", "metrics", "write", "other"
LOSSES, BACKWARD, OPTIMISER = "losses", "backward", "optimiser"

Watch = Callable[[str], AbstractContextManager[None]]
"""Name of a row -> a context whose seconds belong to it."""

_NOTHING: AbstractContextManager[None] = nullcontext()


def unwatched(row: str) -> AbstractContextManager[None]:
    """A context that does nothing: the watch of everything that is not profiled."""
    del row
    return _NOTHING


class Stopwatch:
    """A watch that knows at each moment which row it belongs to: the innermost, and no other.

    So the rows add up to the seconds between ``start`` and ``stop``, whatever is nested in what.

    Args:
        synchronise: Waits for the accelerator, whose work would otherwise count for whoever asks
            for the result; called whenever the row changes. None where there is none.
    """

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        self._synchronise = synchronise
        self._seconds: dict[str, float] = {}
        self._rows = [OTHER]
        self._since = time.perf_counter()
        self._place = self._here()

    @property
    def seconds(self) -> dict[str, float]:
        """Row -> seconds, in the order of first appearance."""
        return dict(self._seconds)

    @property
    def is_here(self) -> bool:
        """Whether this is the process and thread whose time is measured."""
        return self._place == self._here()

    def start(self) -> None:
        """Forget everything; what is in no row counts as ``other`` from now on."""
        self._seconds = {}
        self._rows = [OTHER]
        self._since = time.perf_counter()

    def stop(self) -> float:
        """Seconds since ``start``; the rows have them all."""
        self._switch()
        return sum(self._seconds.values())

    @contextmanager
    def __call__(self, row: str) -> Iterator[None]:
        """Context whose seconds belong to the row, less those of contexts within."""
        self.enter(row)
        try:
            yield
        finally:
            self.leave()

    def enter(self, row: str) -> None:
        """From now on, seconds belong to the row."""
        self._switch()
        self._rows.append(row)

    def leave(self) -> None:
        """Give the seconds back to whom they belonged before."""
        self._switch()
        self._rows.pop()

    def _switch(self) -> None:
        if self._synchronise is not None:
            self._synchronise()
        now = time.perf_counter()
        row = self._rows[-1]
        self._seconds[row] = self._seconds.get(row, 0.0) + now - self._since
        self._since = now

    @staticmethod
    def _here() -> tuple[int, int]:
        return os.getpid(), threading.get_ident()
