"""A Gaussian over image-level statistics of normal images; the score is the distance from it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice, expect_range
from clad.features import image_statistics, token_maps
from clad.heads.base import Head, category_rows
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction

_SMALLEST_STD = 1e-6
_FEWEST_IMAGES = 2


class NormalStatistics(Head):
    """Mahalanobis distance of an image's channel means and deviations from the normal ones.

    Sees what no single patch shows: too much or too little of something, uneven light, a part that
    sits elsewhere. Statistics are standardised per category; the covariance is that of the normal
    images plus ``shrinkage`` times the identity. Memory is bounded: 2 C numbers per image. Makes no
    map.

    Source: Rippel et al., Modeling the distribution of normal data in pre-trained deep features for
    anomaly detection (ICPR 2020, arXiv:2005.14140), with deviations beside means and a ridge.

    Args:
        shrinkage: Variance added in every direction, in units of a standardised channel, > 0.
        num_directions: Principal directions kept per category, those with most variance; the
            others count with the added variance alone.
        layers: Positions of the token layers to use; None takes all.
        cells: Cells per side in which statistics are taken; 2 tells the corners of an image apart.
        scale: ``unit`` gives every token the norm 1 before statistics are taken, so that gain and
            contrast do not count; ``none`` leaves tokens as they are.
    """

    needs_reference = True
    centre: Tensor
    spread: Tensor
    directions: Tensor
    variances: Tensor
    num_seen: Tensor

    def __init__(
        self,
        shrinkage: float = 0.1,
        num_directions: int = 200,
        layers: tuple[int, ...] | None = None,
        scale: Literal["unit", "none"] = "unit",
        cells: int = 1,
    ) -> None:
        super().__init__()
        expect_range("cells", cells, 1, 16)
        self.cells = cells
        expect_range("shrinkage", shrinkage, 1e-6, 1e6)
        expect_range("num_directions", num_directions, 1, float("inf"))
        self.shrinkage = shrinkage
        expect_choice("scale", scale, ("unit", "none"))
        self.num_directions = num_directions
        self.scale = scale
        self.layers = layers
        self._seen: dict[str, list[Tensor]] = {}

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Reserve one Gaussian per category."""
        layers = range(len(tower.token_dims)) if self.layers is None else self.layers
        width = 2 * self.cells**2 * sum(tower.token_dims[layer] for layer in layers)
        self.class_names = tuple(class_names)
        count = len(class_names)
        self.register_buffer("centre", torch.zeros(count, width))
        self.register_buffer("spread", torch.ones(count, width))
        kept = min(self.num_directions, width)
        self.register_buffer("directions", torch.zeros(count, kept, width))
        self.register_buffer("variances", torch.zeros(count, kept))
        self.register_buffer("num_seen", torch.zeros(count, dtype=torch.long))

    def start_reference(self) -> None:
        """Forget what was observed."""
        self._seen = {name: [] for name in self.class_names}

    @torch.no_grad()
    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Keep the statistics of normal images."""
        category_rows(self.class_names, categories)
        for row, category in zip(self._statistics(features), categories, strict=True):
            self._seen[category].append(row)

    def finish_reference(self) -> None:
        """Fit one Gaussian per category.

        Raises:
            ValueError: If fewer than two normal images of a category were observed.
        """
        for number, name in enumerate(self.class_names):
            seen = self._seen[name]
            if len(seen) < _FEWEST_IMAGES:
                raise ValueError(
                    f"expected at least {_FEWEST_IMAGES} normal training images of {name}, got "
                    f"{len(seen)}; add some, or use a head without statistics (configs/head/)"
                )
            values = torch.stack(seen)
            self.centre[number] = values.mean(0)
            self.spread[number] = values.std(0).clamp(min=_SMALLEST_STD)
            scaled = (values - self.centre[number]) / self.spread[number]
            _, singular, directions = torch.linalg.svd(scaled, full_matrices=False)
            kept = min(len(singular), self.directions.shape[1])
            self.directions[number].zero_()[:kept] = directions[:kept]
            self.variances[number].zero_()[:kept] = singular[:kept].square() / len(seen)
            self.num_seen[number] = len(seen)
        self._seen = {}

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Distances >= 0, without maps.

        Raises:
            ValueError: If nothing was observed of a category.
        """
        del alignment, image_size
        index = category_rows(self.class_names, categories).to(self.centre.device)
        if (self.num_seen[index] == 0).any():
            missing = sorted(
                {c for c, n in zip(categories, index, strict=True) if not self.num_seen[n]}
            )
            raise ValueError(
                f"expected normal statistics of {', '.join(missing)}, got none; train the recipe "
                "to its end, with normal training images of every category"
            )
        scaled = (self._statistics(features) - self.centre[index]) / self.spread[index]
        along = torch.einsum("bw,bkw->bk", scaled, self.directions[index])
        beyond = (scaled.square().sum(1) - along.square().sum(1)).clamp(min=0) / self.shrinkage
        within = (along.square() / (self.variances[index] + self.shrinkage)).sum(1)
        return Prediction((within + beyond).sqrt())

    def _statistics(self, features: ImageFeatures) -> Tensor:
        maps = [each.float() for each in token_maps(features, self.layers)]
        if self.scale == "unit":
            maps = [functional.normalize(each, dim=1) for each in maps]
        return image_statistics(maps, self.cells)
