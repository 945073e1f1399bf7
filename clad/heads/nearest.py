"""Distance to the nearest row of a bank, in chunks of bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK_BYTES = {"cpu": 8 * 2**20, "cuda": 256 * 2**20}
"""Products held at a time: what stays in a processor's cache until its minimum is taken, and what
fills a GPU."""
_SMALLEST_CHUNK = 64
"""Queries; fewer do not fill a matrix product."""


class NearestRows:
    """A bank made ready for many searches: its table and norms are laid out once.

    Args:
        bank: (M, C) float32, M >= 1; it is kept, not copied.
        half: Look for the nearest row in bfloat16 (its distance is then taken in float32, so a
            near tie may pick the second nearest: the result can only be slightly too large). None
            does so where the hardware multiplies bfloat16 faster (CUDA, Intel AMX).

    Raises:
        ValueError: If the bank is empty.
    """

    def __init__(self, bank: Tensor, half: bool | None = None) -> None:
        if len(bank) == 0:
            raise ValueError("expected a bank with at least one row, got an empty one")
        if half is None:
            half = bank.is_cuda or torch.cpu._is_amx_tile_supported()
        self._kind = torch.bfloat16 if half else torch.float32
        self._bank = bank
        self._table = bank.to(self._kind).T.contiguous()
        self._offsets = bank.square().sum(1).to(self._kind)

    def distances(self, queries: Tensor) -> Tensor:
        """(N,) float32 Euclidean distance of each query to its nearest row.

        Args:
            queries: (N, C) float32.
        """
        found = torch.empty(len(queries), device=queries.device)
        chunk = self._chunk()
        for start in range(0, len(queries), chunk):
            part = queries[start : start + chunk]
            # Squared distance less the query's own norm, which does not change the order; min
            # returns the same rows as argmin in less than half the time.
            products = torch.addmm(self._offsets, part.to(self._kind), self._table, alpha=-2)
            nearest = self._bank[products.min(1).indices]
            found[start : start + chunk] = torch.linalg.vector_norm(part - nearest, dim=1)
        return found

    def _chunk(self) -> int:
        """Queries whose products fit the allowance."""
        allowance = _CHUNK_BYTES.get(self._bank.device.type, _CHUNK_BYTES["cpu"])
        return max(_SMALLEST_CHUNK, allowance // (len(self._bank) * self._kind.itemsize))


def nearest_distance(queries: Tensor, bank: Tensor, half: bool | None = None) -> Tensor:
    """(N,) float32 Euclidean distance of each query to its nearest row of a bank used once.

    Args:
        queries: (N, C) float32.
        bank: (M, C) float32, M >= 1.
        half: As in ``NearestRows``.

    Raises:
        ValueError: If the bank is empty.
    """
    return NearestRows(bank, half).distances(queries)
