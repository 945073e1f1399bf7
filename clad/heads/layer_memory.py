"""Words and a few normal images, layer by layer: APRIL-GAN with references."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice, expect_range
from clad.features import enlarge, enlarge_mean
from clad.heads.remembering import FewImagesHead
from clad.heads.text_maps import difference, layer_differences, pixel_probabilities
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction


class LayerMemory(FewImagesHead):
    """Adds the distance to remembered normal tokens to the map of the words.

    It keeps the raw tokens of every patch of a few normal images, per category and layer. A token's
    distance is ``1 - cosine`` to the nearest remembered one of its layer. The map is the mean over
    layers of anomalous probability plus distance; the image score is the mean of the image's own
    probability and the largest value of the map.

    Source: APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382), section 3.2. Its code adds the
    layers up, then brings the largest values of all test images of a category to [0, 1] before the
    mean: an image's score then depends on the other test images. Here nothing is fitted: the mean
    over layers is that sum on the fixed scale on which the words alone span [0, 1].

    Args:
        layers: Positions of the token layers to remember; None takes all.
        sigma_px: Standard deviation of a Gaussian over the map, in pixels; 0 leaves it out.
        max_images: Most normal images per category; more are refused, because the memory grows with
            them. ``data.shots`` chooses how many there are.
    """

    needs_text = True
    stored = torch.float16

    def __init__(
        self, layers: tuple[int, ...] | None = None, sigma_px: float = 0.0, max_images: int = 64
    ) -> None:
        super().__init__(max_images, "APRIL-GAN: 1, 2 or 4")
        expect_range("sigma_px", sigma_px, 0, 1000)
        self.layers = layers
        self.sigma_px = sigma_px
        self._places: tuple[int, ...] = ()

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Reserve one memory per category and layer.

        Raises:
            ValueError: If the tower has no such layer.
        """
        available = range(len(tower.token_dims))
        self._places = tuple(available) if self.layers is None else tuple(self.layers)
        for place in self._places:
            expect_choice("layer", str(place), map(str, available))
        self.reserve_groups(class_names, len(self._places))

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores, maps, and the parts ``text`` and ``map``.

        Raises:
            ValueError: If nothing is remembered of a category.
        """
        assert alignment is not None
        layers = []
        for group, tokens in enumerate(self.rows_of(features)):
            distances = self.cosine_distances(tokens, group, categories)
            grid = features.grids[self._places[group]]
            layers.append(distances.unflatten(1, grid))
        memory = enlarge_mean(layers, image_size)
        maps = pixel_probabilities(layer_differences(alignment), image_size) + memory
        if self.sigma_px:
            maps = enlarge(maps, image_size, self.sigma_px)
        whole, largest = torch.sigmoid(difference(alignment.image_logits)), maps.amax((1, 2))
        return Prediction((whole + largest) / 2, maps, {"text": whole, "map": largest})

    def rows_of(self, features: ImageFeatures) -> list[Tensor]:
        """(B, P_l, C_l) tokens of the remembered layers, of unit length."""
        return [functional.normalize(features.tokens[n].float(), dim=-1) for n in self._places]
