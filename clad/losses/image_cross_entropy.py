"""Cross-entropy of the image's (normal, anomalous) logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from clad.checks import expect_range, expect_shape
from clad.losses.base import Loss
from clad.losses.pixels import expect_alignment
from clad.types import LossInputs


def image_cross_entropy(
    image_logits: Tensor, labels: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Mean negative log-probability of the true label.

    Args:
        image_logits: (B, 2) float, (normal, anomalous).
        labels: (B,) int64, 1 anomalous.
        label_smoothing: Share of the truth that is spread evenly over both classes, in [0, 1).

    Returns:
        Scalar float, >= 0.

    Source: CoOp (Zhou et al., IJCV 2022, arXiv:2109.01134), equation 2; AnomalyCLIP (Zhou et al.,
    ICLR 2024, arXiv:2310.18961), global term.
    """
    expect_shape("image_logits", image_logits, (len(labels), 2))
    return functional.cross_entropy(image_logits, labels, label_smoothing=label_smoothing)


class ImageCrossEntropy(Loss):
    """Two-way cross-entropy of image against text.

    Source: CoOp (arXiv:2109.01134) and AnomalyCLIP's global term (arXiv:2310.18961).

    Args:
        weight: Factor in the sum, >= 0.
        logit_scale: What cosines are multiplied with in this term, > 0 (1 in AA-CLIP); None takes
            the recipe's own multiplier.
        label_smoothing: Share of the truth that is spread evenly over both classes, in [0, 1); so
            that few images in many dimensions do not drive logits apart without end (Szegedy et
            al., CVPR 2016).
    """

    def __init__(
        self,
        weight: float = 1.0,
        logit_scale: float | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight)
        expect_range("label_smoothing", label_smoothing, 0, 0.99)
        self.label_smoothing = label_smoothing
        if logit_scale is not None:
            expect_range("logit_scale", logit_scale, 1e-4, 1e4)
        self.logit_scale = logit_scale

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over all images of the batch."""
        alignment = expect_alignment(inputs, type(self).__name__)
        logits = alignment.image_logits
        if self.logit_scale is not None:
            logits = logits * (self.logit_scale / alignment.logit_scale)
        return image_cross_entropy(logits, inputs.batch.labels, self.label_smoothing)
