"""WinCLIP+: words, and distances to windows and patches of a few normal images."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.alignment import anomaly_probability
from clad.checks import expect_choice, expect_range
from clad.features import enlarge
from clad.heads.base import Head, category_rows
from clad.heads.nearest import nearest_distance
from clad.heads.windows import expect_windows, harmonic_mean, text_map, window_map
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction


class WinCLIPFewShot(Head):
    """Adds a memory of a few normal images per category to WinCLIP.

    It keeps the embeddings of all their windows and their patch tokens. Per scale a window or patch
    scores ``min over the memory of (1 - cosine) / 2``; windows become maps by the harmonic mean
    over those that cover a patch; M is the mean over the scales. The score is the mean of the
    text score and the largest M; the map combines the text map with M.

    Source: WinCLIP+ (Jeong et al., CVPR 2023, arXiv:2303.14814).

    Args:
        layer: Position in the tower's ``layers`` of the one whose tokens are remembered. WinCLIP
            takes the last block but one (``layers: [11]`` of a tower with 12); anomalib takes the
            last.
        combine: How the map joins the text map and M: ``mean`` is anomalib's choice, ``harmonic``
            (the harmonic mean) that of caoyunkang/WinClip.
        max_images: Most normal images per category; more are refused, because the memory grows with
            them. ``data.shots`` chooses how many there are.
    """

    needs_text = True
    needs_reference = True

    def __init__(
        self,
        layer: int = 0,
        combine: Literal["mean", "harmonic"] = "mean",
        max_images: int = 64,
    ) -> None:
        super().__init__()
        expect_choice("combine", combine, ("mean", "harmonic"))
        expect_range("max_images", max_images, 1, float("inf"))
        self.layer = layer
        self.combine = combine
        self.max_images = max_images
        self._seen: dict[str, list[tuple[Tensor, ...]]] = {}

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Reserve one memory per category and scale.

        Raises:
            ValueError: If the tower gives no windows, or has no such layer.
        """
        expect_windows(tower)
        positions = range(len(tower.token_dims))
        expect_choice("layer", str(self.layer), map(str, positions))
        self.class_names = tuple(class_names)
        self._num_scales = len(tower.window_sides) + 1
        for name in self._buffer_names():
            self.register_buffer(name, torch.empty(0, 0))

    def start_reference(self) -> None:
        """Forget what was observed."""
        self._seen = {name: [] for name in self.class_names}

    @torch.no_grad()
    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Keep windows and patches of normal images.

        Raises:
            ValueError: If there are more of a category than ``max_images``.
        """
        category_rows(self.class_names, categories)
        scales = self._scales(features)
        for row, category in enumerate(categories):
            seen = self._seen[category]
            seen.append(tuple(scale[row].clone() for scale in scales))
            if len(seen) > self.max_images:
                raise ValueError(
                    f"expected at most {self.max_images} normal images of {category} to remember, "
                    "got more; set data.shots to a few (WinCLIP: 1, 2 or 4), or raise max_images"
                )

    def finish_reference(self) -> None:
        """Fix the memories."""
        for number, category in enumerate(self.class_names):
            if not self._seen[category]:
                continue
            for scale, rows in enumerate(zip(*self._seen[category], strict=True)):
                setattr(self, _buffer_name(number, scale), torch.cat(rows))
        self._seen = {}

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores and maps in [0, 1]; parts ``text`` and ``memory``.

        Raises:
            ValueError: If nothing is remembered of a category.
        """
        assert alignment is not None
        words = anomaly_probability(alignment.image_logits)
        distances = self._distances(features, categories)
        memory = distances.amax((1, 2))
        maps = torch.stack([text_map(features, alignment), distances])
        joint = maps.mean(0) if self.combine == "mean" else harmonic_mean(maps)
        parts = {"text": words, "memory": memory}
        return Prediction((words + memory) / 2, enlarge(joint, image_size), parts)

    def _scales(self, features: ImageFeatures) -> tuple[Tensor, ...]:
        """(B, N, D) windows of each scale, then (B, P, C) patch tokens, all of unit length.

        Raises:
            ValueError: If there are no windows, or the tokens lie on another grid.
        """
        if features.windows is None or len(features.windows) + 1 != self._num_scales:
            raise ValueError(
                f"expected {self._num_scales - 1} scales of windows as in training, got "
                f"{len(features.windows or ())}; set model.tower.init_args.window_sides"
            )
        if features.grids[self.layer] != features.grids[0]:
            raise ValueError(
                f"expected tokens on the grid of the windows {features.grids[0]}, got "
                f"{features.grids[self.layer]}; choose another layer"
            )
        tokens = functional.normalize(features.tokens[self.layer].float(), dim=-1)
        return (*features.windows, tokens)

    def _distances(self, features: ImageFeatures, categories: tuple[str, ...]) -> Tensor:
        """(B, h, w) M, the mean over the scales."""
        scales, grid = self._scales(features), features.grids[0]
        names = category_rows(self.class_names, categories)
        maps = torch.empty(len(categories), *grid, device=scales[0].device)
        for number in names.unique().tolist():
            rows = (names == number).nonzero().flatten().to(maps.device)
            found = [
                _half_cosine_distance(scale[rows], self._memory(number, place))
                for place, scale in enumerate(scales)
            ]
            *windows, patches = found
            layers = [patches.unflatten(1, grid)]
            for scores, side in zip(windows, features.window_sides, strict=True):
                layers.append(window_map(scores, grid, side))
            maps[rows] = torch.stack(layers).mean(0)
        return maps

    def _memory(self, number: int, scale: int) -> Tensor:
        memory: Tensor = getattr(self, _buffer_name(number, scale))
        if len(memory) == 0:
            raise ValueError(
                f"expected normal images of {self.class_names[number]} in the memory, got none; "
                "train the recipe to its end, with normal training images of every category"
            )
        return memory

    def _buffer_names(self) -> list[str]:
        numbers = range(len(getattr(self, "class_names", ())))
        return [_buffer_name(n, scale) for n in numbers for scale in range(self._num_scales)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: object) -> None:
        """Memories come in the size they were saved in."""
        for name in self._buffer_names():
            saved = state_dict.get(f"{prefix}{name}")
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _buffer_name(number: int, scale: int) -> str:
    return f"memory_{number}_{scale}"


def _half_cosine_distance(queries: Tensor, memory: Tensor) -> Tensor:
    """(B, N) min over the memory of (1 - cosine) / 2, which is |p - q|^2 / 4 at unit length.

    Args:
        queries: (B, N, D) float, unit norm.
        memory: (M, D) float, unit norm.
    """
    flat = queries.float().flatten(0, 1)
    return nearest_distance(flat, memory, half=False).square().div(4).view(queries.shape[:2])
