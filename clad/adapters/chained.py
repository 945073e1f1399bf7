"""Adapters one after the other."""

from __future__ import annotations

from torch import Tensor, nn

from clad.adapters.base import Adapter
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures


class Chained(Adapter):
    """Several adapters as one: each gets what the one before gives.

    A bridge that aligns an unaligned tower can thus be followed by an adapter that was made for
    aligned ones.

    Args:
        adapters: In the order of application; at least one.
    """

    def __init__(self, adapters: list[Adapter]) -> None:
        super().__init__()
        if not adapters:
            raise ValueError(
                "expected at least one adapter, got none; list some (configs/adapter/)"
            )
        self.steps = nn.ModuleList(adapters)
        self.aligns = any(adapter.aligns for adapter in adapters)
        self.aligns_untrained = any(adapter.aligns_untrained for adapter in adapters)
        self.reads_patches = adapters[0].reads_patches

    @property
    def adapters(self) -> list[Adapter]:
        """In the order of application."""
        return [step for step in self.steps if isinstance(step, Adapter)]

    @property
    def logit_scale(self) -> Tensor | None:
        """That of the last adapter that has one."""
        scales = [adapter.logit_scale for adapter in self.adapters]
        return next((scale for scale in reversed(scales) if scale is not None), None)

    def attach(self, tower: Tower) -> None:
        """Attach each to the tower."""
        for adapter in self.adapters:
            adapter.attach(tower)

    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """Features that have passed all."""
        for adapter in self.adapters:
            features = adapter(features)
        return features

    def refine(self, features: ImageFeatures, alignment: Alignment) -> Alignment:
        """The alignment that all have refined, in their order."""
        for adapter in self.adapters:
            alignment = adapter.refine(features, alignment)
        return alignment
