"""AdaCLIP's hybrid semantic fusion: the image embedding takes in what its anomalous patches say.

Letters in shapes: B batch, L layers, P patches, D shared embedding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from clad.adapters.base import Adapter
from clad.adapters.clusters import mean_of_anomalous_clusters, most_anomalous_cluster
from clad.checks import expect_choice, expect_range
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures

_WEIGHTS = {"paper": most_anomalous_cluster, "code": mean_of_anomalous_clusters}


class SemanticFusion(Adapter):
    """Moves the image's logits towards those of a cluster of anomalous patches.

    With h the unit centroid of that cluster and c the image embedding, logits are those of
    ``unit(share h + (1 - share) c)``. Which patches are anomalous depends on the words, so this
    happens after both were compared (``refine``), in training as in testing; ``features.pooled``
    stays c. Gradients reach the patches; which of them are chosen is taken as given.

    Source: AdaCLIP (Cao et al., ECCV 2024, arXiv:2407.15795), section 3.3. Its k-means has random
    seeds; here it has a fixed one.

    Args:
        adapter: What comes before, such as a projection of patches; None takes features as the
            tower gives them.
        variant: ``paper`` takes the centroid of the most anomalous of ``num_clusters`` clusters of
            all patches; ``code``, which the published numbers come from, the mean of the centroids
            of ``num_clusters`` clusters of the 5 x ``num_clusters`` most anomalous patches.
        num_clusters: K of k-means, at least 1.
        share: Weight of the centroid, in [0, 1]; the rest is the image embedding's.
    """

    def __init__(
        self,
        adapter: Adapter | None = None,
        variant: Literal["paper", "code"] = "code",
        num_clusters: int = 20,
        share: float = 0.2,
    ) -> None:
        super().__init__()
        expect_choice("variant", variant, _WEIGHTS)
        expect_range("num_clusters", num_clusters, 1, 10_000)
        expect_range("share", share, 0, 1)
        self.adapter = adapter
        self.aligns = adapter is not None and adapter.aligns
        self.reads_patches = adapter is None or adapter.reads_patches
        self.variant = variant
        self.num_clusters = num_clusters
        self.share = share

    @property
    def logit_scale(self) -> Tensor | None:
        """That of the adapter before."""
        return None if self.adapter is None else self.adapter.logit_scale

    def attach(self, tower: Tower) -> None:
        """Attach the adapter before."""
        if self.adapter is not None:
            self.adapter.attach(tower)

    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """What the adapter before makes of the features."""
        return features if self.adapter is None else self.adapter(features)

    def refine(self, features: ImageFeatures, alignment: Alignment) -> Alignment:
        """The alignment with the fused image's logits.

        Raises:
            ValueError: If layers have different grids.
        """
        if self.adapter is not None:
            alignment = self.adapter.refine(features, alignment)
        grids = sorted(set(alignment.grids))
        if len(grids) > 1:
            raise ValueError(
                f"expected patches of all layers on one grid for semantic fusion, got {grids}; "
                "choose layers of a VisionTransformer"
            )
        assert features.patches is not None
        assert features.pooled is not None
        patches_BLPD = torch.stack(features.patches, dim=1)
        logits_BLP2 = torch.stack(alignment.patch_logits, dim=1)
        with torch.no_grad():
            find = _WEIGHTS[self.variant]
            pairs = zip(patches_BLPD, logits_BLP2, strict=True)
            weights_BLP = torch.stack([find(*pair, self.num_clusters) for pair in pairs])
        centroid_BD = torch.einsum("blp,blpd->bd", weights_BLP, patches_BLPD)
        length_B1 = _length(centroid_BD)
        # Logits are linear in the image side, so those of a mixture are the mixture of logits.
        centroid_logits = torch.einsum("blp,blpk->bk", weights_BLP, logits_BLP2) / length_B1
        mixed_BD = self.share * centroid_BD / length_B1 + (1 - self.share) * features.pooled
        mixed_logits = self.share * centroid_logits + (1 - self.share) * alignment.image_logits
        return replace(alignment, image_logits=mixed_logits / _length(mixed_BD))


def _length(vectors: Tensor) -> Tensor:
    return vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
