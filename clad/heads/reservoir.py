"""A uniform random sample of a stream of rows, in bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Reservoir:
    """Keeps the rows with the largest random keys: a uniform sample without replacement.

    A row that is kept takes the place of one that is dropped, so that a block costs what it brings,
    however large the sample.

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
        self._filling: list[Tensor] = []
        self._rows: Tensor | None = None

    def offer(self, rows: Tensor) -> None:
        """Take in (N, C) rows."""
        keys = torch.rand(len(rows), generator=self._random)
        if self._rows is not None:
            fresh = (keys > self._keys.min()).nonzero().flatten()
            self._replace(self._rows, rows[fresh.to(rows.device)], keys[fresh])
            return
        self._filling.append(rows.clone())
        self._keys = torch.cat([self._keys, keys])
        if len(self._keys) >= self.size:
            kept = self._keys.topk(self.size).indices
            self._rows = torch.cat(self._filling)[kept.to(rows.device)]
            self._keys = self._keys[kept]
            self._filling = []

    def _replace(self, kept: Tensor, rows: Tensor, keys: Tensor) -> None:
        """Put those of the rows that belong to the sample where others leave it."""
        leaving = torch.cat([self._keys, keys]).topk(len(keys), largest=False).indices
        is_coming = torch.ones(len(keys), dtype=torch.bool)
        is_coming[leaving[leaving >= self.size] - self.size] = False
        places = leaving[leaving < self.size]
        kept[places.to(rows.device)] = rows[is_coming.to(rows.device)]
        self._keys[places] = keys[is_coming]

    def rows(self) -> Tensor:
        """(at most ``size``, C) rows kept; (0, 0) if nothing was offered.

        A full sample comes in the order of its keys, a smaller one in the order of the stream.
        """
        if self._rows is not None:
            order = self._keys.argsort(descending=True, stable=True)
            return self._rows[order.to(self._rows.device)]
        return torch.cat(self._filling) if self._filling else torch.empty(0, 0)


def _mixed(seed: tuple[int, ...]) -> int:
    """One seed from several numbers, the same on every Python."""
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
