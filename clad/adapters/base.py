"""The adapter contract: features -> features."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures


class Adapter(nn.Module, ABC):
    """Changes or fills features between tower and alignment. One file and one YAML each."""

    aligns: bool = False
    """Whether this adapter, once trained, brings an unaligned tower into text space."""

    aligns_untrained: bool = False
    """Whether ``attach`` alone does so, without images and without training."""

    reads_patches: bool = True
    """Whether ``forward`` looks at the tower's own ``patches``; if not, a feature cache leaves them
    out."""

    @property
    def logit_scale(self) -> Tensor | None:
        """Learned multiplier of cosines, a scalar; None keeps the tower's."""
        return None

    @abstractmethod
    def attach(self, tower: Tower) -> None:
        """Create the parameters, whose shapes depend on the tower; called once, before training."""

    @abstractmethod
    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """Features with the same tokens; ``patches`` and ``pooled`` of unit norm where present.

        Patches on other grids than the tokens say so in ``patch_grids``.
        """

    def refine(self, features: ImageFeatures, alignment: Alignment) -> Alignment:
        """The alignment that losses and heads see, once patches were compared with words.

        Where the image embedding depends on what words say of the patches (AdaCLIP's semantic
        fusion), ``image_logits`` are replaced here; by default nothing is.
        """
        del features
        return alignment
