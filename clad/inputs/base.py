"""The inputs contract: what happens to normalised pixels before the tower."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from clad.towers.base import Tower
from clad.types import ImageFeatures


class InputTransform(nn.Module, ABC):
    """Normalised pixels -> normalised pixels (visual reprogramming). One file and one YAML each."""

    def attach(self, tower: Tower) -> None:
        """Create parameters whose shape depends on the tower; called once, before training."""

    def prepare(self, images: Tensor, tower: Tower) -> Tensor:
        """Normalised pixels that ``forward`` gets; by default those of the tower's own size.

        Args:
            images: (B, 3, H, W) uint8 or float in [0, 1].
            tower: Normalises; ``tower.prepare(images, size)`` resizes straight to another size.
        """
        return tower.prepare(images)

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, *tower.image_size) float of what ``prepare`` gave."""

    def restore(self, features: ImageFeatures) -> ImageFeatures:
        """Features whose patch grids cover the image that went in, and nothing else.

        Masks, maps and regions are compared with grids, so an input that moves the image inside the
        frame (a border) takes the grids back here; by default nothing is to be done.
        """
        return features
