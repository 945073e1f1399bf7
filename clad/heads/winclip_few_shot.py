"""WinCLIP+: words, and distances to windows and patches of a few normal images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.alignment import anomaly_probability
from clad.checks import expect_choice
from clad.features import enlarge
from clad.heads.remembering import FewImagesHead
from clad.heads.windows import expect_windows, harmonic_mean, text_map, window_map
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction


class WinCLIPFewShot(FewImagesHead):
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

    def __init__(
        self,
        layer: int = 0,
        combine: Literal["mean", "harmonic"] = "mean",
        max_images: int = 64,
    ) -> None:
        super().__init__(max_images, "WinCLIP: 1, 2 or 4")
        expect_choice("combine", combine, ("mean", "harmonic"))
        self.layer = layer
        self.combine = combine

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Reserve one memory per category and scale.

        Raises:
            ValueError: If the tower gives no windows, or has no such layer.
        """
        expect_windows(tower)
        positions = range(len(tower.token_dims))
        expect_choice("layer", str(self.layer), map(str, positions))
        self._num_scales = len(tower.window_sides) + 1
        self.reserve_groups(class_names, self._num_scales)

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

    def rows_of(self, features: ImageFeatures) -> tuple[Tensor, ...]:
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
        grid = features.grids[0]
        *windows, patches = [
            self.cosine_distances(rows.float(), scale, categories) / 2
            for scale, rows in enumerate(self.rows_of(features))
        ]
        layers = [patches.unflatten(1, grid)]
        for scores, side in zip(windows, features.window_sides, strict=True):
            layers.append(window_map(scores, grid, side))
        return torch.stack(layers).mean(0)
