"""The loss contract: one weighted term of the training objective."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from clad.towers.base import Tower
from clad.types import LossInputs


class Loss(nn.Module, ABC):
    """One term of the objective. The maths is a pure function in the same file.

    Args:
        weight: Factor in the sum, >= 0; 0 switches the term off.
    """

    needs_alignment: bool = True
    """Whether the term looks at text logits; False for terms on features alone."""

    needs_pixels: bool = False
    """Whether the term looks at ``batch.images``, which a feature cache does not bring."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"expected a loss weight >= 0, got {weight}; use 0 to switch it off")
        self.weight = weight

    @property
    def name(self) -> str:
        """Name in logs: the class name in snake case without ``Loss``."""
        stem = type(self).__name__.removesuffix("Loss")
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in stem).lstrip("_")

    def attach(self, tower: Tower) -> None:
        """Create parameters whose shape depends on the tower (decoders); called once."""

    @abstractmethod
    def forward(self, inputs: LossInputs) -> Tensor:
        """Unweighted scalar; a zero that still carries a graph where the batch offers nothing."""
