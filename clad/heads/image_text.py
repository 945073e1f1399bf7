"""Image score from the image embedding and the words alone."""

from __future__ import annotations

from clad.alignment import expect_sigma
from clad.checks import expect_choice
from clad.heads.base import Head
from clad.heads.image_evidence import Output, image_evidence
from clad.types import Alignment, ImageFeatures, Prediction


class ImageText(Head):
    """Compares the image embedding with the normal and the anomalous prototype; makes no map.

    Source: CLIP (Radford et al., ICML 2021, arXiv:2103.00020); two-class prompts as in WinCLIP
    (Jeong et al., CVPR 2023, arXiv:2303.14814); the Gaussian score is CLAD's (arXiv:2412.00890).

    Args:
        output: ``logit`` is the difference of the two logits (unbounded; keeps the order where a
            softmax saturates); ``probability`` its sigmoid, which is CLIP's softmax; ``gaussian``
            is 1 - exp(-d^2 / sigma) with d the distance from the normal prototype alone.
        sigma: Width of ``gaussian`` in units of a squared distance, > 0; unit vectors are 0 to 4
            apart. It changes no ranking.
    """

    needs_text = True

    def __init__(self, output: Output = "logit", sigma: float = 1.0) -> None:
        super().__init__()
        expect_choice("output", output, ("logit", "probability", "gaussian"))
        expect_sigma(sigma)
        self.output: Output = output
        self.sigma = sigma

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
        return Prediction(image_evidence(alignment, self.output, self.sigma))
