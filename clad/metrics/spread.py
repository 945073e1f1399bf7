"""How far a number moves from one training to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A metric over several runs.

    Args:
        mean: NaN if no run has a value.
        std: Sample standard deviation, with n - 1; NaN for fewer than two values.
        low: Smallest value.
        high: Largest value.
        num: Number of runs that have a value.
    """

    mean: float
    std: float
    low: float
    high: float
    num: int


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation and range of the values that are not NaN."""
    defined = [value for value in values if not math.isnan(value)]
    num = len(defined)
    if not num:
        return Spread(math.nan, math.nan, math.nan, math.nan, 0)
    mean, std = math.fsum(defined) / num, math.nan
    if num > 1:
        # Equal values have no spread, whatever their mean is rounded to.
        squares = math.fsum((value - mean) ** 2 for value in defined)
        std = math.sqrt(squares / (num - 1)) if min(defined) < max(defined) else 0.0
    return Spread(mean, std, min(defined), max(defined), num)
