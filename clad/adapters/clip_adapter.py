"""A bottleneck whose output is blended with the image embedding (CLIP-Adapter)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.adapters.base import Adapter
from clad.checks import expect_range
from clad.towers.base import Tower
from clad.types import ImageFeatures


class ClipAdapter(Adapter):
    """``unit(ratio x A(f) + (1 - ratio) x f)`` with ``A(f) = relu(W2 relu(W1 f))``, without bias.

    A is positively homogeneous, so it does not matter whether f is the embedding or its unit
    vector. The tower has to be aligned with text.

    Source: CLIP-Adapter (Gao et al., IJCV 2024, arXiv:2110.04544), image side, in the form of
    CLIPping the Deception (Khan and Dang-Nguyen, ICMR 2024, arXiv:2402.12927; published code): half
    the width in the middle (``reduction`` 2, where CLIP-Adapter has 4) and a ratio of 0.4; 589,824
    parameters on CLIP ViT-L/14.

    Args:
        ratio: Share of the adapted vector, in [0, 1].
        reduction: What the width is divided by in the middle, >= 1.
        patches: Whether patches pass the same layers, too; the published one leaves them out.
    """

    def __init__(self, ratio: float = 0.4, reduction: int = 2, patches: bool = False) -> None:
        super().__init__()
        expect_range("ratio", ratio, 0, 1)
        expect_range("reduction", reduction, 1, 4096)
        self.ratio = ratio
        self.reduction = reduction
        self.patches = patches

    def attach(self, tower: Tower) -> None:
        """Create both layers for the tower's shared width D.

        Raises:
            ValueError: If nothing would be left of the width.
        """
        hidden = tower.embed_dim // self.reduction
        if hidden < 1:
            raise ValueError(
                f"expected reduction of at most {tower.embed_dim}, the width of the embedding, got "
                f"{self.reduction}; lower it"
            )
        self.down = nn.Linear(tower.embed_dim, hidden, bias=False)
        self.up = nn.Linear(hidden, tower.embed_dim, bias=False)

    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """Features with another embedding and ``pooled``, and other patches where asked.

        Raises:
            ValueError: If the tower gives no features in text space.
        """
        if features.patches is None or features.pooled is None:
            raise ValueError(
                "expected features aligned with text for ClipAdapter, got trunk features only; "
                "choose a CLIP tower (configs/tower/), or configs/adapter/token_projection.yaml, "
                "which learns to align"
            )
        vectors = features.pooled if features.embedding is None else features.embedding
        blended = self._blend(vectors)
        changed = replace(
            features,
            pooled=functional.normalize(blended.float(), dim=-1),
            embedding=None if features.embedding is None else blended,
        )
        if not self.patches:
            return changed
        layers = [functional.normalize(self._blend(p).float(), dim=-1) for p in features.patches]
        return replace(changed, patches=tuple(layers))

    def _blend(self, vectors: Tensor) -> Tensor:
        adapted = torch.relu(self.up(torch.relu(self.down(vectors))))
        return self.ratio * adapted + (1 - self.ratio) * vectors
