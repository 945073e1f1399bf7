"""How often the true kind of defect is the first, or among the first three, to be named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_FEW = 3


@dataclass(frozen=True)
class NamingAccuracy:
    """Shares of the defective images, in [0, 1]; NaN where no image counts.

    Args:
        top_1: The true type was ranked first.
        top_3: It was among the first three.
        chance_1: What a random order would give for ``top_1``: the mean of 1 / number of types.
        chance_3: Likewise for ``top_3``.
        num_images: Images that count.
        num_left_out: Defective images whose type no description knows.
    """

    top_1: float
    top_3: float
    chance_1: float
    chance_3: float
    num_images: int
    num_left_out: int

    def __str__(self) -> str:
        if not self.num_images:
            return "undefined: no defective image of a kind that the descriptions know"
        left_out = f"; {self.num_left_out} of other kinds left out" if self.num_left_out else ""
        return (
            f"true kind of defect first in {self.top_1:.3f} of {self.num_images} defective images "
            f"(chance {self.chance_1:.3f}), among the first {_FEW} in {self.top_3:.3f} "
            f"(chance {self.chance_3:.3f}){left_out}"
        )


def naming_accuracy(
    ranked_types: Sequence[Sequence[str]], defect_types: Sequence[str], labels: Sequence[int]
) -> NamingAccuracy:
    """Accuracy over the images that are anomalous.

    Args:
        ranked_types: Per image, every type that could be named, best first, each once.
        defect_types: The true type of each image.
        labels: 1 anomalous; normal images do not count.

    Raises:
        ValueError: If lengths differ, or a type is ranked twice.
    """
    if not len(ranked_types) == len(defect_types) == len(labels):
        raise ValueError(
            f"expected one ranking, type and label per image, got {len(ranked_types)}, "
            f"{len(defect_types)} and {len(labels)}"
        )
    places, counts, left_out = [], [], 0
    for ranking, true, label in zip(ranked_types, defect_types, labels, strict=True):
        if len(set(ranking)) != len(ranking):
            raise ValueError(f"expected each defect type once in a ranking, got {list(ranking)}")
        if not label:
            continue
        if true not in ranking:
            left_out += 1
            continue
        places.append(list(ranking).index(true))
        counts.append(len(ranking))
    return NamingAccuracy(
        top_1=_mean([place < 1 for place in places]),
        top_3=_mean([place < _FEW for place in places]),
        chance_1=_mean([1 / count for count in counts]),
        chance_3=_mean([min(_FEW, count) / count for count in counts]),
        num_images=len(places),
        num_left_out=left_out,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
