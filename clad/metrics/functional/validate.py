"""What every metric asks of its arguments, and when a ranking metric has no value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float32] | NDArray[np.float64]
Labels = NDArray[np.bool_]


def checked_scores(name: str, scores: ArrayLike) -> Scores:
    """The scores as float32 or float64, whichever holds them without loss.

    Raises:
        ValueError: If a score is NaN or infinite.
    """
    array = np.asarray(scores)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    # A sum is not finite if any term is not; the careful count runs only when something is wrong.
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum(dtype=np.float64)
    if not np.isfinite(total):
        broken = int((~np.isfinite(array)).sum())
        if broken:
            raise ValueError(
                f"expected finite {name}, got {broken} of {array.size} that are NaN or infinite; "
                "look for a division by zero or an overflow in the head"
            )
    return array


def checked_labels(name: str, labels: ArrayLike, shape: tuple[int, ...]) -> Labels:
    """The labels as bool, True where anomalous.

    Raises:
        ValueError: If a value is neither 0 nor 1, or the shape is not that of the scores.
    """
    array = np.asarray(labels)
    if array.shape != shape:
        raise ValueError(
            f"expected {name} of the shape of the scores {shape}, got {array.shape}; "
            "pass one label per score"
        )
    if array.dtype == np.bool_:
        return array
    as_bool = array.astype(bool)
    if not np.array_equal(as_bool, array):
        raise ValueError(
            f"expected {name} of 0 (normal) and 1 (anomalous), got {np.unique(array)[:5]}; "
            "binarise them first"
        )
    return as_bool


def undefined_reason(labels: ArrayLike, unit: str = "image") -> str | None:
    """Why a ranking metric has no value for these labels, or None if it has one.

    Ranking metrics compare anomalous with normal items, so each kind must be there. AP and F1-max
    of anomalous items alone would be 1 whatever the scores say; that is called undefined, too.

    Args:
        labels: Any shape, bool or 0 and 1.
        unit: What one label stands for, in the singular.
    """
    array = np.asarray(labels)
    if array.size == 0:
        return f"no {unit}s"
    anomalous = np.count_nonzero(array)
    if anomalous == 0:
        return f"no anomalous {unit}"
    if anomalous == array.size:
        return f"no normal {unit}"
    return None
