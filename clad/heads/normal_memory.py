"""A bounded memory of normal patches; the distance to the nearest one is the anomaly score."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from clad.checks import expect_choice, expect_range
from clad.features import dense_tokens, enlarge, token_maps, top_mean
from clad.heads.base import Head, category_rows
from clad.heads.nearest import nearest_distance
from clad.heads.reservoir import Reservoir
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction

_SMALLEST_STD = 1e-6
_NUM_COORDINATES = 2


class NormalMemory(Head):
    """Remembers patches of normal images per category and measures how far a patch is from them.

    The bank is a uniform random sample of all patches seen (reservoir sampling): its size is fixed
    before the run and does not grow with the data; it is kept in float16.

    Source: PatchCore (Roth et al., CVPR 2022, arXiv:2106.08265), with a random sample in place of
    the greedy coreset and without the image score's reweighting; unit tokens and the position term
    are ours. With C channels, spreads s and positions u in [0, 1]^2 the squared distance of patches
    p and q is ``mean_c ((p_c - q_c) / s_c)^2 + (position_weight |u_p - u_q|)^2``.

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
    """

    needs_reference = True
    bank: Tensor

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
    ) -> None:
        super().__init__()
        expect_range("size", size, 1, float("inf"))
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
        self._reservoirs: dict[str, Reservoir] = {}

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Reserve one bank per category."""
        del tower
        self.class_names = tuple(class_names)
        for number in range(len(class_names)):
            self.register_buffer(f"bank_{number}", torch.empty(0, 0))

    def start_reference(self) -> None:
        """Forget what was observed."""
        self._reservoirs = {
            name: Reservoir(self.size, seed=(self.seed, number))
            for number, name in enumerate(self.class_names)
        }

    @torch.no_grad()
    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Offer the patches of normal images to the banks of their categories."""
        category_rows(self.class_names, categories)
        tokens = self._tokens(features)
        for row, category in enumerate(categories):
            self._reservoirs[category].offer(tokens[row].flatten(1).T)

    def finish_reference(self) -> None:
        """Fix the banks."""
        for number, name in enumerate(self.class_names):
            setattr(self, f"bank_{number}", self._reservoirs[name].rows().half())
        self._reservoirs = {}

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
            bank, centre, spread = self._bank(category)
            queries = tokens[rows].flatten(2).transpose(1, 2).flatten(0, 1)
            found = nearest_distance((queries - centre) / spread, (bank - centre) / spread)
            distances[rows] = found.view(len(rows), *tokens.shape[-2:])
        maps = enlarge(distances, image_size, self.sigma_px)
        return Prediction(top_mean(distances, self.top_share), maps)

    def _tokens(self, features: ImageFeatures) -> Tensor:
        """(B, C + 2, h, w) averaged tokens with their row and column in [0, 1]."""
        maps = [each.float() for each in token_maps(features, self.layers)]
        dense = dense_tokens(maps, self.neighbourhood, unit=self.scale == "unit")
        rows, columns = (
            (torch.arange(side, device=dense.device) + 0.5) / side for side in dense.shape[-2:]
        )
        positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return torch.cat([dense, positions.expand(len(dense), -1, -1, -1)], 1)

    def _bank(self, category: str) -> tuple[Tensor, Tensor, Tensor]:
        """The bank, its centre, and what each column is divided by."""
        bank = getattr(self, f"bank_{self.class_names.index(category)}")
        if len(bank) == 0:
            raise ValueError(
                f"expected normal images of {category} in the memory, got none; train the recipe "
                "to its end, with normal training images of every category"
            )
        bank = bank.float()
        spread, centre = torch.std_mean(bank, 0, correction=0)
        num_channels = bank.shape[1] - _NUM_COORDINATES
        channels = spread[:num_channels]
        if self.scale != "standardise":
            channels = channels.square().mean().sqrt().expand(num_channels)
        spread[:num_channels] = channels.clamp(min=_SMALLEST_STD) * num_channels**0.5
        weight = self.position_weight
        spread[num_channels:] = 1 / weight if weight else float("inf")
        return bank, centre, spread

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: object) -> None:
        """Banks come in the size they were saved in."""
        for number in range(len(getattr(self, "class_names", ()))):
            saved = state_dict.get(f"{prefix}bank_{number}")
            if saved is not None:
                here = getattr(self, f"bank_{number}")
                setattr(self, f"bank_{number}", torch.empty_like(saved, device=here.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
