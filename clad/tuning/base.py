"""The tuning contract: which weights of the tower learn."""

from __future__ import annotations

from abc import ABC, abstractmethod

from clad.towers.base import Tower


class Tuning(ABC):
    """Decides which weights of a tower learn. One file and one YAML per strategy."""

    @abstractmethod
    def apply(self, tower: Tower) -> None:
        """Set ``requires_grad`` on the tower's weights, or wrap its modules; called once."""
