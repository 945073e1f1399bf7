"""The float32 numbers counted off in their order, so that "halfway" has a meaning on any scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIGN = np.int64(2**31)


def keys_of(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) int64 that rises by 1 from each float32 to the next; 0 for 0 and -0."""
    bits = scores.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits + _SIGN), bits)


def scores_of(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N,) float32; undoes ``keys_of``."""
    return np.where(keys < 0, -keys - _SIGN, keys).astype(np.int32).view(np.float32)


def roundest_between(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the key in (``low``, ``high``) with the most zeros at its end, and so the same for many.

    Args:
        low: (N,) int64 keys.
        high: (N,) int64, at least ``low`` + 2.
    """
    last = high - 1 + _SIGN
    # The highest bit in which the two ends differ.
    level = np.frexp(((low + _SIGN) ^ last).astype(np.float64))[1] - 1
    return (last >> level << level) - _SIGN
