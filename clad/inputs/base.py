"""The inputs contract: what happens to normalised pixels before the tower."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from clad.towers.base import Tower


class InputTransform(nn.Module, ABC):
    """Normalised pixels -> normalised pixels (visual reprogramming). One file and one YAML each."""

    def attach(self, tower: Tower) -> None:
        """Create parameters whose shape depends on the tower; called once, before training."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float of the same shape."""
