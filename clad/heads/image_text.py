"""Image score from the image embedding and the words alone."""

from __future__ import annotations

from typing import Literal

import torch

from clad.checks import expect_choice
from clad.heads.base import Head
from clad.types import Alignment, ImageFeatures, Prediction


class ImageText(Head):
    """Compares the image embedding with the normal and the anomalous prototype; makes no map.

    Source: CLIP (Radford et al., ICML 2021, arXiv:2103.00020); two-class prompts as in WinCLIP
    (Jeong et al., CVPR 2023, arXiv:2303.14814).

    Args:
        output: ``logit`` is the difference of the two logits (unbounded; keeps the order where a
            softmax saturates); ``probability`` its sigmoid, which is CLIP's softmax.
    """

    needs_text = True

    def __init__(self, output: Literal["logit", "probability"] = "logit") -> None:
        super().__init__()
        expect_choice("output", output, ("logit", "probability"))
        self.output = output

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores without maps."""
        del features, categories, image_size
        assert alignment is not None
        logits = alignment.image_logits.float()
        difference = logits[:, 1] - logits[:, 0]
        return Prediction(difference if self.output == "logit" else torch.sigmoid(difference))
