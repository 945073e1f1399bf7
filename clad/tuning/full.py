"""Every weight of the tower learns."""

from __future__ import annotations

from clad.towers.base import Tower
from clad.tuning.base import Tuning


class Full(Tuning):
    """Train both encoders from end to end (CLAD's task-driven fine-tuning)."""

    def apply(self, tower: Tower) -> None:
        """Let gradients into every weight."""
        tower.requires_grad_(True)
