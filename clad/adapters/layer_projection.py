"""One linear map per layer from trunk tokens into the words' space (APRIL-GAN, AA-CLIP)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from clad.adapters.base import Adapter
from clad.checks import expect_choice
from clad.towers.base import Tower
from clad.types import ImageFeatures


class LayerProjection(Adapter):
    """Patches of every layer by its own linear map, and nothing else that learns.

    ``patches[l] = unit(activation(W_l tokens[l] + b_l))``: raw trunk tokens of each chosen layer,
    so maps of different layers differ even before training. With CLIP ViT-L/14 and four layers that
    is 4 x (1024 x 768 + 768) = 3,148,800 weights.

    Source: APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382), section 3.1; with ``pooled:
    mean_patch``, ``bias: false`` and ``token_norm: layer`` the readout of AA-CLIP (Ma et al., CVPR
    2025, arXiv:2503.06661; its ``--relu`` is ``activation: leaky_relu``). AA-CLIP normalises tokens
    by the trunk's own final norm, whose gain the linear map can absorb, and leaves the mean patch
    shorter than 1.

    Args:
        pooled: ``keep`` leaves the image embedding to the tower. ``mean_patch`` replaces it by one
            more linear map of the last layer's tokens, each of unit length, averaged over the image
            and brought to unit length; this also aligns a tower that was not. ``linear`` is one
            more linear map of the tower's image embedding, before unit length (AdaCLIP).
        bias: Whether the maps add a constant.
        activation: ``none``, or ``leaky_relu`` with slope 0.01 below zero.
        token_norm: ``none``, or ``layer``: each token is centred and scaled first.
    """

    reads_patches = False

    def __init__(
        self,
        pooled: Literal["keep", "mean_patch", "linear"] = "keep",
        bias: bool = True,
        activation: Literal["none", "leaky_relu"] = "none",
        token_norm: Literal["none", "layer"] = "none",
    ) -> None:
        super().__init__()
        expect_choice("pooled", pooled, ("keep", "mean_patch", "linear"))
        expect_choice("activation", activation, ("none", "leaky_relu"))
        expect_choice("token_norm", token_norm, ("none", "layer"))
        self.pooled = pooled
        self.bias = bias
        self.activation = activation
        self.token_norm = token_norm
        self.aligns = pooled == "mean_patch"
        self.layers = nn.ModuleList()
        self.image: nn.Linear | None = None

    def attach(self, tower: Tower) -> None:
        """Create one map per layer, and the one of the image where asked for."""
        self.layers = nn.ModuleList(
            nn.Linear(width, tower.embed_dim, bias=self.bias) for width in tower.token_dims
        )
        if self.pooled == "mean_patch":
            self.image = nn.Linear(tower.token_dims[-1], tower.embed_dim, bias=self.bias)
        elif self.pooled == "linear":
            self.image = nn.Linear(tower.embed_dim, tower.embed_dim, bias=self.bias)

    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """Features with projected patches on the tokens' own grids."""
        tokens = [self._normed(each) for each in features.tokens]
        patches = tuple(
            self._unit(layer(each)) for layer, each in zip(self.layers, tokens, strict=True)
        )
        pooled = features.pooled
        if self.image is not None and self.pooled == "linear":
            pooled = self._unit(self.image(_embedding(features)))
        elif self.image is not None:
            pooled = functional.normalize(self._unit(self.image(tokens[-1])).mean(1), dim=-1)
        return replace(features, patches=patches, pooled=pooled, patch_grids=None)

    def _normed(self, tokens: Tensor) -> Tensor:
        if self.token_norm == "none":
            return tokens
        return functional.layer_norm(tokens, tokens.shape[-1:])

    def _unit(self, projected: Tensor) -> Tensor:
        if self.activation == "leaky_relu":
            projected = functional.leaky_relu(projected)
        return functional.normalize(projected.float(), dim=-1)


def _embedding(features: ImageFeatures) -> Tensor:
    """The image embedding before unit length.

    Raises:
        ValueError: If the tower gives none.
    """
    if features.embedding is None:
        raise ValueError(
            "expected the tower's image embedding for pooled: linear, got none; choose a CLIP "
            "tower (configs/tower/), or set pooled to mean_patch"
        )
    return features.embedding
