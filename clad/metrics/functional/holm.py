"""Holm's correction: p-values of several questions asked at once."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Corrected p-values in [0, 1], in the order given; NaN stays NaN and counts as no question.

    If a corrected value below 0.05 is called a difference, the chance that any such call is wrong
    is at most 0.05, however many questions there are and however they hang together.

    Args:
        p_values: In [0, 1] or NaN.

    Raises:
        ValueError: If a value lies outside.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    asked = [place for place, value in enumerate(p_values) if not math.isnan(value)]
    for place in asked:
        if not 0 <= p_values[place] <= 1:
            raise ValueError(f"expected p-values in [0, 1], got {p_values[place]}")
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for number, place in enumerate(sorted(asked, key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(asked) - number) * p_values[place]))
        corrected[place] = largest
    return tuple(corrected)
