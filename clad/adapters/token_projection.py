"""Tokens of all layers -> the words' space, by a small network that the trainer learns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.adapters.base import Adapter
from clad.checks import expect_range
from clad.features import dense_tokens, image_statistics, token_maps
from clad.towers.base import Tower
from clad.types import ImageFeatures

_LARGEST_SCALE = 100.0
"""CLIP's own bound on the multiplier of cosines."""


class TokenProjection(Adapter):
    """Two-layer perceptrons from trunk tokens and image vector into the space that text lives in.

    Tokens of all layers are averaged over a neighbourhood, enlarged to the finest grid, stacked and
    standardised; one perceptron takes each position to ``patches``. The image vector joins what is
    strongest and what is usual among the hidden patches with the trunk's summary and the mean and
    deviation of every token channel; a second perceptron takes it to ``pooled``. It brings a tower
    whose image and text weights come from different worlds into one space, and sharpens one that is
    aligned already.

    Args:
        hidden_dim: Width between the two layers.
        neighbourhood: Odd side, in tokens, of the average.
        unit_tokens: Give each layer's averaged token the norm 1 first, so that gain and contrast do
            not count.
        dropout: Share of hidden units that training leaves out, in [0, 1).
        initial_logit_scale: Multiplier of cosines at the start, in (0, 100]; it is learned.
    """

    aligns = True
    reads_patches = False

    def __init__(
        self,
        hidden_dim: int = 256,
        neighbourhood: int = 3,
        unit_tokens: bool = True,
        dropout: float = 0.0,
        initial_logit_scale: float = 20.0,
    ) -> None:
        super().__init__()
        expect_range("initial_logit_scale", initial_logit_scale, 1e-3, _LARGEST_SCALE)
        expect_range("dropout", dropout, 0, 0.99)
        if neighbourhood < 1 or neighbourhood % 2 == 0:
            raise ValueError(f"expected an odd neighbourhood of at least 1, got {neighbourhood}")
        self.hidden_dim = hidden_dim
        self.neighbourhood = neighbourhood
        self.unit_tokens = unit_tokens
        self.dropout = nn.Dropout(dropout)
        self.log_scale = nn.Parameter(torch.tensor(initial_logit_scale).log())

    @property
    def logit_scale(self) -> Tensor:
        """Learned multiplier of cosines, a scalar of at most 100."""
        return self.log_scale.exp().clamp(max=_LARGEST_SCALE)

    def attach(self, tower: Tower) -> None:
        """Create both perceptrons for the tower's widths."""
        width = sum(tower.token_dims)
        self.token_norm = nn.BatchNorm2d(width, affine=False)
        self.token_hidden = nn.Linear(width, self.hidden_dim)
        self.token_out = nn.Linear(self.hidden_dim, tower.embed_dim)
        self.summary_norm = nn.BatchNorm1d(tower.summary_dim, affine=False)
        self.statistics_norm = nn.BatchNorm1d(2 * width, affine=False)
        joined = tower.summary_dim + 2 * width + 2 * self.hidden_dim
        self.image_hidden = nn.Linear(joined, self.hidden_dim)
        self.image_out = nn.Linear(self.hidden_dim, tower.embed_dim)

    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """Features with one layer of patches on the finest grid, and pooled."""
        maps = token_maps(features)
        dense = dense_tokens(maps, self.neighbourhood, self.unit_tokens)
        grid = (dense.shape[-2], dense.shape[-1])
        tokens_BPC = self.token_norm(dense).flatten(2).transpose(1, 2)
        hidden_BPH = functional.gelu(self.token_hidden(tokens_BPC))
        patches_BPD = self.token_out(self.dropout(hidden_BPH))
        summary_BC = self.summary_norm(features.summary)
        if self.unit_tokens:
            maps = [functional.normalize(each, dim=1) for each in maps]
        statistics_BS = self.statistics_norm(image_statistics(maps))
        whole = torch.cat([summary_BC, statistics_BS, hidden_BPH.amax(1), hidden_BPH.mean(1)], 1)
        pooled_BD = self.image_out(self.dropout(functional.gelu(self.image_hidden(whole))))
        return replace(
            features,
            patches=(functional.normalize(patches_BPD.float(), dim=-1),),
            pooled=functional.normalize(pooled_BD.float(), dim=-1),
            patch_grids=(grid,),
        )
