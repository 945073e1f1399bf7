"""McNemar's exact test: whether one of two detectors is right more often on the same items."""

from __future__ import annotations


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value in [0, 1]: how likely so uneven a split is if either is as good.

    Items on which both are right, or both wrong, say nothing of which is better.

    Args:
        only_first: Number of items on which the first alone is right.
        only_second: Number of items on which the second alone is right.

    Raises:
        ValueError: If a number is negative.

    Source: McNemar, Psychometrika 12 (1947), 153-157; the binomial form, without its normal
    approximation.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(
            f"expected numbers of items of at least 0, got {only_first} and {only_second}"
        )
    total = only_first + only_second
    # Whole numbers throughout: binomial coefficients from each other, one division at the end.
    ways = tail = 1
    for chosen in range(min(only_first, only_second)):
        ways = ways * (total - chosen) // (chosen + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**total)
