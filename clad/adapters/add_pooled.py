"""The image embedding is added to every patch (AA-CLIP's first stage)."""

from __future__ import annotations

from dataclasses import replace

from torch.nn import functional

from clad.adapters.base import Adapter
from clad.towers.base import Tower
from clad.types import ImageFeatures


class AddPooled(Adapter):
    """Give each patch the whole image as context; nothing to learn.

    ``patches[l] = unit(patches[l] + pooled)``. AA-CLIP's code leaves the sum as long as it is,
    between 0 and 2; here it is of unit length as everywhere, which divides the logits of a patch by
    the length of its sum.

    Source: AA-CLIP (Ma et al., CVPR 2025, arXiv:2503.06661), published code of the first stage.
    """

    def attach(self, tower: Tower) -> None:
        """There is nothing to create."""
        del tower

    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """Features with other patches.

        Raises:
            ValueError: If the tower gives no patches in text space.
        """
        if features.patches is None or features.pooled is None:
            raise ValueError(
                "expected features aligned with text for AddPooled, got trunk features only; "
                "choose a CLIP tower (configs/tower/)"
            )
        whole = features.pooled[:, None]
        patches = tuple(functional.normalize(each + whole, dim=-1) for each in features.patches)
        return replace(features, patches=patches)
