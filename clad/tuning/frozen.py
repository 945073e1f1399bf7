"""No weight of the tower learns."""

from __future__ import annotations

from clad.towers.base import Tower
from clad.tuning.base import Tuning


class Frozen(Tuning):
    """Keep every weight of the tower as it was loaded (the default)."""

    def apply(self, tower: Tower) -> None:
        """Stop gradients into the tower."""
        tower.freeze()
