"""Map from patches and words; image score from the map."""

from __future__ import annotations

from typing import Literal

import torch

from clad.checks import expect_choice, expect_range
from clad.features import enlarge, top_mean
from clad.heads.base import Head
from clad.types import Alignment, ImageFeatures, Prediction


class PatchText(Head):
    """Compares every patch with the normal and the anomalous prototype of its category.

    Source: APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382) and AnomalyCLIP (Zhou et al., ICLR
    2024, arXiv:2310.18961): maps of all layers are averaged here, summed there.

    Args:
        output: ``logit`` maps the difference of the two logits (unbounded); ``probability`` its
            sigmoid, which is the softmax of the papers.
        top_share: The image score is the mean over this share of the patches, in [0, 1], those
            that stand out most; 0 takes the maximum alone.
        sigma_px: Standard deviation of the Gaussian over the map, in pixels of the image.
    """

    needs_text = True

    def __init__(
        self,
        output: Literal["logit", "probability"] = "logit",
        top_share: float = 0.01,
        sigma_px: float = 4.0,
    ) -> None:
        super().__init__()
        expect_choice("output", output, ("logit", "probability"))
        expect_range("top_share", top_share, 0, 1)
        expect_range("sigma_px", sigma_px, 0, 1000)
        self.output = output
        self.top_share = top_share
        self.sigma_px = sigma_px

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores and maps."""
        del features, categories
        assert alignment is not None
        maps, scores = [], []
        for logits_BP2, grid in zip(alignment.patch_logits, alignment.grids, strict=True):
            logits = logits_BP2.float()
            values = (logits[..., 1] - logits[..., 0]).unflatten(1, grid)
            values = values if self.output == "logit" else torch.sigmoid(values)
            maps.append(enlarge(values, image_size, self.sigma_px))
            scores.append(top_mean(values, self.top_share))
        return Prediction(torch.stack(scores).mean(0), torch.stack(maps).mean(0))
