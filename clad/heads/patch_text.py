"""Map from patches and words; image score from the patches, the whole image, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from clad.checks import expect_choice, expect_range
from clad.features import enlarge, enlarge_mean, top_mean
from clad.heads.base import Head
from clad.heads.text_maps import difference, layer_differences, pixel_probabilities
from clad.types import Alignment, ImageFeatures, Prediction


class PatchText(Head):
    """Compares every patch with the normal and the anomalous prototype of its category.

    Source: APRIL-GAN (Chen et al., VAND 2023, arXiv:2305.17382) and AnomalyCLIP (Zhou et al., ICLR
    2024, arXiv:2310.18961). They sum the maps (anomalous + 1 - normal) / 2 of all layers; with two
    probabilities that add up to 1 this is the anomalous one, and the mean, which is taken here,
    differs from the sum by a constant factor.

    Args:
        output: ``logit`` maps the difference of the two logits (unbounded); ``probability`` its
            sigmoid, which is the softmax of the papers.
        top_share: The score of patches is the mean over this share of them, in [0, 1], those that
            stand out most; 0 takes the maximum alone.
        sigma_px: Standard deviation of the Gaussian over the map, in pixels of the image.
        score: Where the image score comes from: ``patches`` that stand out most; ``image``, the
            embedding of the whole image against the same prototypes (APRIL-GAN without references,
            AnomalyCLIP); ``mean`` of that and the largest value of the map (AA-CLIP), without the
            test-set scaling of its code.
        average: What is averaged over layers for the map: ``values`` of patches, enlarged;
            ``pixels``, the values of logits that were enlarged first (APRIL-GAN); or ``logits`` at
            image size, before they become values (AdaCLIP). A difference for probabilities only.
    """

    needs_text = True

    def __init__(
        self,
        output: Literal["logit", "probability"] = "logit",
        top_share: float = 0.01,
        sigma_px: float = 4.0,
        score: Literal["patches", "image", "mean"] = "patches",
        average: Literal["values", "pixels", "logits"] = "values",
    ) -> None:
        super().__init__()
        expect_choice("output", output, ("logit", "probability"))
        expect_range("top_share", top_share, 0, 1)
        expect_range("sigma_px", sigma_px, 0, 1000)
        expect_choice("score", score, ("patches", "image", "mean"))
        self.output = output
        self.top_share = top_share
        self.sigma_px = sigma_px
        expect_choice("average", average, ("values", "pixels", "logits"))
        self.score = score
        self.average = average

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
        layers = layer_differences(alignment)
        maps_BHW = self._map(layers, image_size)
        if self.score == "patches":
            scores = [top_mean(self._values(layer), self.top_share) for layer in layers]
            return Prediction(torch.stack(scores).mean(0), maps_BHW)
        whole = self._values(difference(alignment.image_logits))
        if self.score == "image":
            return Prediction(whole, maps_BHW)
        largest = maps_BHW.amax((1, 2))
        return Prediction((whole + largest) / 2, maps_BHW, {"image": whole, "map": largest})

    def _map(self, layers: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """(B, height, width) map of all layers' logit differences (B, h, w)."""
        if self.average == "logits":
            if self.output == "logit":
                return enlarge_mean(layers, size, self.sigma_px)
            return enlarge(self._values(enlarge_mean(layers, size)), size, self.sigma_px)
        if self.average == "pixels" and self.output == "probability":
            return enlarge(pixel_probabilities(layers, size), size, self.sigma_px)
        return enlarge_mean([self._values(layer) for layer in layers], size, self.sigma_px)

    def _values(self, differences: Tensor) -> Tensor:
        return differences if self.output == "logit" else torch.sigmoid(differences)
