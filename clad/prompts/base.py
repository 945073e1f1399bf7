"""The prompt contract: class names and words -> text prototypes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import nn

from clad.towers.base import Tower
from clad.types import Batch, TextPrototypes


class PromptStrategy(nn.Module, ABC):
    """Class names -> one normal and one anomalous prototype each. One file and one YAML each.

    Without trainable parameters and with a frozen text tower the task computes prototypes once per
    set of class names and keeps them.
    """

    per_image: bool = False
    """Whether prototypes depend on the image (RepDFD's Face2Text)."""

    def attach(self, tower: Tower) -> None:
        """Create parameters whose shape depends on the tower; called once, before training."""

    @abstractmethod
    def forward(
        self, class_names: Sequence[str], tower: Tower, batch: Batch | None = None
    ) -> TextPrototypes:
        """Unit-norm prototypes of the class names, in their order.

        Args:
            class_names: K category names as the data set spells them; words are looked up by them.
            tower: Encodes the words.
            batch: The images; only strategies with ``per_image`` look at it.

        Raises:
            ValueError: If ``class_names`` is empty or has duplicates.
        """
