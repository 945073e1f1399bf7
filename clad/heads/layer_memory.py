"""Words and a few normal images, layer by layer: APRIL-GAN with references."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice, expect_range
from clad.features import enlarge
from clad.heads.base import Head, category_rows
from clad.heads.nearest import nearest_distance
from clad.heads.text_maps import difference, layer_differences, pixel_probabilities
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction


class LayerMemory(Head):
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
    needs_reference = True

    def __init__(
        self, layers: tuple[int, ...] | None = None, sigma_px: float = 0.0, max_images: int = 64
    ) -> None:
        super().__init__()
        expect_range("sigma_px", sigma_px, 0, 1000)
        expect_range("max_images", max_images, 1, float("inf"))
        self.layers = layers
        self.sigma_px = sigma_px
        self.max_images = max_images
        self.class_names: tuple[str, ...] = ()
        self._places: tuple[int, ...] = ()
        self._seen: dict[str, list[list[Tensor]]] = {}

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Reserve one memory per category and layer.

        Raises:
            ValueError: If the tower has no such layer.
        """
        available = range(len(tower.token_dims))
        self._places = tuple(available) if self.layers is None else tuple(self.layers)
        for place in self._places:
            expect_choice("layer", str(place), map(str, available))
        self.class_names = tuple(class_names)
        for name in self._buffer_names():
            self.register_buffer(name, torch.empty(0, 0))

    def start_reference(self) -> None:
        """Forget what was observed."""
        self._seen = {name: [] for name in self.class_names}

    @torch.no_grad()
    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Keep the tokens of normal images.

        Raises:
            ValueError: If there are more of a category than ``max_images``.
        """
        category_rows(self.class_names, categories)
        layers = self._tokens(features)
        for row, category in enumerate(categories):
            seen = self._seen[category]
            seen.append([layer[row].half() for layer in layers])
            if len(seen) > self.max_images:
                raise ValueError(
                    f"expected at most {self.max_images} normal images of {category} to remember, "
                    "got more; set data.shots to a few (APRIL-GAN: 1, 2 or 4), or raise max_images"
                )

    def finish_reference(self) -> None:
        """Fix the memories, in float16."""
        for number, category in enumerate(self.class_names):
            for place, images in enumerate(zip(*self._seen[category], strict=True)):
                setattr(self, _buffer_name(number, place), torch.cat(images))
        self._seen = {}

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
        distances = self._distances(features, categories)
        memory = torch.stack([enlarge(layer, image_size) for layer in distances]).mean(0)
        maps = pixel_probabilities(layer_differences(alignment), image_size) + memory
        if self.sigma_px:
            maps = enlarge(maps, image_size, self.sigma_px)
        whole, largest = torch.sigmoid(difference(alignment.image_logits)), maps.amax((1, 2))
        return Prediction((whole + largest) / 2, maps, {"text": whole, "map": largest})

    def _tokens(self, features: ImageFeatures) -> list[Tensor]:
        """(B, P_l, C_l) tokens of the remembered layers, of unit length."""
        return [functional.normalize(features.tokens[n].float(), dim=-1) for n in self._places]

    def _distances(self, features: ImageFeatures, categories: tuple[str, ...]) -> list[Tensor]:
        """(B, h_l, w_l) distance of each token to the nearest remembered one, layer by layer."""
        names = category_rows(self.class_names, categories)
        found = []
        for place, tokens in enumerate(self._tokens(features)):
            distances = torch.empty(tokens.shape[:2], device=tokens.device)
            for number in names.unique().tolist():
                rows = (names == number).nonzero().flatten().to(tokens.device)
                queries, memory = tokens[rows].flatten(0, 1), self._memory(number, place)
                # At unit length, 1 - cosine is half the squared distance.
                nearest = nearest_distance(queries, memory, half=False).square() / 2
                distances[rows] = nearest.view(len(rows), -1)
            found.append(distances.unflatten(1, features.grids[self._places[place]]))
        return found

    def _memory(self, number: int, place: int) -> Tensor:
        memory: Tensor = getattr(self, _buffer_name(number, place))
        if len(memory) == 0:
            raise ValueError(
                f"expected normal images of {self.class_names[number]} in the memory, got none; "
                "train the recipe to its end, with normal training images of every category"
            )
        return functional.normalize(memory.float(), dim=-1)

    def _buffer_names(self) -> list[str]:
        return [
            _buffer_name(number, place)
            for number in range(len(self.class_names))
            for place in range(len(self._places))
        ]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: object) -> None:
        """Memories come in the size they were saved in."""
        for name in self._buffer_names():
            saved = state_dict.get(f"{prefix}{name}")
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _buffer_name(number: int, place: int) -> str:
    return f"memory_{number}_{place}"
