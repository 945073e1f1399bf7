"""The tuning contract: which weights of the tower learn."""

from __future__ import annotations

from abc import ABC, abstractmethod

from clad.towers.base import Tower


class Tuning(ABC):
    """Decides which weights of a tower learn. One file and one YAML per strategy."""

    @abstractmethod
    def apply(self, tower: Tower) -> None:
        """Set ``requires_grad`` on the tower's weights, or wrap its modules; called once."""

    def is_own(self, name: str) -> bool:
        """Whether the tuning added this weight to the tower (``model.visual...``).

        Such weights are written into checkpoints even where they do not learn; a tower cannot load
        them by itself.
        """
        del name
        return False
