"""A bounded memory of normal patches; the distance to the nearest one is the anomaly score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from clad.checks import expect_choice, expect_range
from clad.features import dense_tokens, enlarge, token_maps, top_mean
from clad.heads.base import category_rows
from clad.heads.coreset import greedy_rows
from clad.heads.nearest import NearestRows
from clad.heads.remembering import RememberingHead
from clad.heads.reservoir import Reservoir
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction

_SMALLEST_STD = 1e-6
_NUM_COORDINATES = 2


@dataclass(frozen=True)
class _Scaled:
    """A bank in the units that distances are taken in."""

    centre: Tensor
    spread: Tensor
    rows: NearestRows


class NormalMemory(RememberingHead):
    """Remembers patches of normal images per category and measures how far a patch is from them.

    The bank has a fixed size that does not grow with the data, and is kept in float16. It is a
    uniform random sample of all patches seen, or the patches of a larger one that leave no other
    far away: slower to fill, and rare normal patches then count as normal.

    Source: PatchCore (Roth et al., CVPR 2022, arXiv:2106.08265), without the image score's
    reweighting; the random sample, unit tokens and the position term are ours. With C channels,
    spreads s and positions u in [0, 1]^2 the squared distance of patches p and q is
    ``mean_c ((p_c - q_c) / s_c)^2 + (position_weight |u_p - u_q|)^2``.

    Args:
        size: Patches per category.
        neighbourhood: Odd side, in tokens, of the local average.
        layers: Positions of the token layers to use; None takes all.
        scale: ``unit`` gives every layer's averaged token the norm 1, so that gain and contrast do
            not count; ``none`` leaves tokens as they are; both divide all channels by one spread.
            ``standardise`` divides each channel by its own standard deviation over the bank.
        position_weight: What a shift by a whole side of the image adds, in spreads, >= 0; lets a
            part in the wrong place stand out. 0 leaves positions out.
        top_share: The image score is the mean over this share of the patches, in [0, 1], those
            farthest away; 0 takes the maximum alone.
        sigma_px: Standard deviation of the Gaussian over the map, in pixels of the image.
        seed: Decides which patches are kept.
        selection: ``random`` keeps a uniform sample; ``greedy`` keeps patches that are each as far
            as can be from those before (PatchCore's coreset), chosen among ``candidates`` times
            ``size`` random ones.
        candidates: Random patches per kept one that ``greedy`` chooses among, >= 1; while it
            chooses they take about five times their bytes in float16.
        fade_border: Average zeros beyond the image, as PatchCore's code does: what a network's own
            padding does to patches at the border then counts less.
    """

    def __init__(
        self,
        size: int = 4000,
        neighbourhood: int = 3,
        layers: tuple[int, ...] | None = None,
        scale: Literal["unit", "standardise", "none"] = "unit",
        position_weight: float = 1.0,
        top_share: float = 0.01,
        sigma_px: float = 4.0,
        seed: int = 0,
        selection: Literal["random", "greedy"] = "random",
        candidates: int = 10,
        fade_border: bool = False,
    ) -> None:
        super().__init__()
        expect_range("size", size, 1, float("inf"))
        expect_range("candidates", candidates, 1, float("inf"))
        expect_choice("selection", selection, ("random", "greedy"))
        expect_range("position_weight", position_weight, 0, 1000)
        expect_range("top_share", top_share, 0, 1)
        expect_range("sigma_px", sigma_px, 0, 1000)
        expect_choice("scale", scale, ("standardise", "unit", "none"))
        self.size = size
        self.neighbourhood = neighbourhood
        self.layers = layers
        self.scale = scale
        self.position_weight = position_weight
        self.top_share = top_share
        self.sigma_px = sigma_px
        self.seed = seed
        self.selection = selection
        self.candidates = candidates
        self.fade_border = fade_border
        self._reservoirs: dict[str, Reservoir] = {}

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Reserve one bank per category."""
        del tower
        self.class_names = tuple(class_names)
        self.reserve({_table(number): name for number, name in enumerate(class_names)})

    def start_reference(self) -> None:
        """Forget what was observed."""
        offered = self.size * (self.candidates if self.selection == "greedy" else 1)
        self._reservoirs = {
            name: Reservoir(offered, seed=(self.seed, number))
            for number, name in enumerate(self.class_names)
        }

    @torch.no_grad()
    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Offer the patches of normal images to the banks of their categories."""
        category_rows(self.class_names, categories)
        tokens = self._tokens(features)
        for row, category in enumerate(categories):
            self._reservoirs[category].offer(tokens[row].flatten(1).T.half())

    @torch.no_grad()
    def finish_reference(self) -> None:
        """Fix the banks."""
        for number, name in enumerate(self.class_names):
            rows = self._reservoirs.pop(name).rows()
            if self.selection == "greedy" and len(rows) > self.size:
                scaled = rows.float()
                centre, spread = self._scales(scaled)
                scaled.sub_(centre).div_(spread)
                rows = rows[greedy_rows(scaled, self.size, self.seed)]
            setattr(self, _table(number), rows)

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores and maps: distances in units of the scaled channels, >= 0.

        Raises:
            ValueError: If nothing was observed of a category.
        """
        del alignment
        category_rows(self.class_names, categories)
        tokens = self._tokens(features)
        distances = torch.empty(len(tokens), *tokens.shape[-2:], device=tokens.device)
        for category in dict.fromkeys(categories):
            rows = [row for row, name in enumerate(categories) if name == category]
            bank = self.ready(_table(self.class_names.index(category)), self._scaled)
            queries = tokens[rows].flatten(2).transpose(1, 2).flatten(0, 1)
            found = bank.rows.distances((queries - bank.centre) / bank.spread)
            distances[rows] = found.view(len(rows), *tokens.shape[-2:])
        maps = enlarge(distances, image_size, self.sigma_px)
        return Prediction(top_mean(distances, self.top_share), maps)

    def _tokens(self, features: ImageFeatures) -> Tensor:
        """(B, C + 2, h, w) averaged tokens with their row and column in [0, 1]."""
        maps = [each.float() for each in token_maps(features, self.layers)]
        unit = self.scale == "unit"
        dense = dense_tokens(maps, self.neighbourhood, unit, self.fade_border)
        rows, columns = (
            (torch.arange(side, device=dense.device) + 0.5) / side for side in dense.shape[-2:]
        )
        positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return torch.cat([dense, positions.expand(len(dense), -1, -1, -1)], 1)

    def _scaled(self, bank: Tensor) -> _Scaled:
        """The bank, ready for search."""
        bank = bank.float()
        centre, spread = self._scales(bank)
        return _Scaled(centre, spread, NearestRows((bank - centre) / spread))

    def _scales(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Centre of (M, C + 2) rows, and what each column is divided by."""
        spread, centre = torch.std_mean(rows, 0, correction=0)
        num_channels = rows.shape[1] - _NUM_COORDINATES
        channels = spread[:num_channels]
        if self.scale != "standardise":
            channels = channels.square().mean().sqrt().expand(num_channels)
        spread[:num_channels] = channels.clamp(min=_SMALLEST_STD) * num_channels**0.5
        weight = self.position_weight
        spread[num_channels:] = 1 / weight if weight else float("inf")
        return centre, spread


def _table(number: int) -> str:
    return f"bank_{number}"
