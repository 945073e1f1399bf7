"""A uniform random sample of a stream of rows, in bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Reservoir:
    """Keeps the rows with the largest random keys: a uniform sample without replacement.

    Source: Efraimidis and Spirakis, Weighted random sampling with a reservoir (2006), with equal
    weights; unlike the classical algorithm it takes in whole blocks.

    Args:
        size: Most rows to keep.
        seed: Numbers that decide which.
    """

    def __init__(self, size: int, seed: tuple[int, ...]) -> None:
        self.size = size
        self._random = torch.Generator().manual_seed(_mixed(seed))
        self._keys = torch.empty(0)
        self._rows: Tensor | None = None

    def offer(self, rows: Tensor) -> None:
        """Take in (N, C) rows."""
        keys = torch.rand(len(rows), generator=self._random)
        if self._rows is None:
            self._rows = rows[:0]
        floor = self._keys.min() if len(self._keys) == self.size else -1.0
        fresh = (keys > floor).nonzero().flatten()
        self._keys = torch.cat([self._keys, keys[fresh]])
        self._rows = torch.cat([self._rows, rows[fresh.to(rows.device)]])
        if len(self._keys) > self.size:
            kept = self._keys.topk(self.size).indices
            self._keys = self._keys[kept]
            self._rows = self._rows[kept.to(rows.device)]

    def rows(self) -> Tensor:
        """(at most ``size``, C) rows kept; (0, 0) if nothing was offered."""
        return torch.empty(0, 0) if self._rows is None else self._rows.clone()


def _mixed(seed: tuple[int, ...]) -> int:
    """One seed from several numbers, the same on every Python."""
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
