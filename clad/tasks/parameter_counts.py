"""How many weights of each part of a recipe learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch.nn import Parameter

from clad.tuning.base import Tuning

_TOWER, _TUNING = "tower", "tuning"


@dataclass(frozen=True)
class PartCount:
    """Numbers of weights.

    Args:
        learning: Those that training changes.
        frozen: The others.
    """

    learning: int = 0
    frozen: int = 0


def parameter_counts(
    parameters: Iterable[tuple[str, Parameter]], tuning: Tuning | None = None
) -> dict[str, PartCount]:
    """Weights by part: ``tower`` first, then ``tuning``, ``head`` and whatever else has some.

    Args:
        parameters: Name and weight, as ``named_parameters`` of an attached task gives them.
        tuning: Knows which weights of the tower it has added; they count as ``tuning``.
    """
    counts: dict[str, PartCount] = {}
    for name, weight in parameters:
        part, _, own = name.partition(".")
        if part == _TOWER and tuning is not None and tuning.is_own(own):
            part = _TUNING
        found = counts.get(part, PartCount())
        size = weight.numel()
        learns = weight.requires_grad
        counts[part] = PartCount(found.learning + size * learns, found.frozen + size * (not learns))
    first = [part for part in (_TOWER, _TUNING) if part in counts]
    return {part: counts[part] for part in [*first, *sorted(set(counts) - set(first))]}


def in_words(counts: Mapping[str, PartCount]) -> str:
    """``tower 0 of 5,288,548, head 1,538 of 1,538``: learning weights of all, part by part."""
    return ", ".join(
        f"{part} {count.learning:,} of {count.learning + count.frozen:,}"
        for part, count in counts.items()
    )
