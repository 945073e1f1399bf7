"""Map from the gradient of the image score: where the tokens are that made it rise."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from clad.alignment import expect_sigma
from clad.checks import expect_choice, expect_range, expect_shape
from clad.features import enlarge
from clad.heads.base import Head
from clad.heads.image_evidence import image_evidence
from clad.types import Alignment, ImageFeatures, Prediction


def grad_cam(tokens: Tensor, gradients: Tensor, rectified: bool = True) -> Tensor:
    """``ReLU(sum_k w_k A_k)`` with w_k the mean of the gradient of channel k over positions.

    Args:
        tokens: (B, P, C) float, activations A.
        gradients: (B, P, C) float, derivative of each image's score with respect to its tokens.
        rectified: Whether to take the ReLU; without it, what lies below 0 keeps its order.

    Returns:
        (B, P) float; >= 0 where rectified.

    Raises:
        ValueError: If shapes differ.

    Source: Grad-CAM (Selvaraju et al., ICCV 2017, arXiv:1610.02391), equations 1 and 2; CLAD
    (arXiv:2412.00890), heat map.
    """
    expect_shape("gradients", gradients, tuple(tokens.shape))
    weights_BC = gradients.mean(1)
    heat_BP = torch.einsum("bpc,bc->bp", tokens, weights_BC)
    return heat_BP.relu() if rectified else heat_BP


class GradCam(Head):
    """Scores as ``ImageText`` does, and maps which tokens that score comes from.

    The map is Grad-CAM of the anomaly score itself: sum_k w_k A_k with A_k channel k of the tokens
    of one layer and w_k the mean over positions of the score's derivative by A_k. Image and
    map so always speak of the same evidence, and no mask is needed to learn it. It takes a backward
    pass per image; ``PatchText`` is sharper where patches were trained on masks.

    The layer's tokens must lie on the way to the image embedding. In a ViT those of the last block
    do not (the class token alone goes on), so choose an earlier layer there.

    Source: CLAD (arXiv:2412.00890) with Grad-CAM (Selvaraju et al., ICCV 2017, arXiv:1610.02391).
    The paper differentiates the similarity S with the words; ``output: gaussian`` differentiates
    1 - S(image, normal), so that the map shows what is abnormal instead of what is normal. Its
    formula is ``rectified: true``.

    Args:
        layer: Position in the tower's token layers; -1 is the last.
        output: What is scored and differentiated: ``logit`` is the anomalous minus the normal
            logit; ``gaussian`` is 1 - exp(-d^2 / sigma) with d the distance from the normal
            prototype. (A softmax has no gradient left where it saturates.)
        sigma: Width of ``gaussian`` in units of a squared distance, > 0.
        rectified: Set to 0 what lies below, as the papers do. They take 0 for "nothing here", which
            holds behind a ReLU but not for tokens in general: there it can cut a whole map away.
            Without it, the same places stand out, and the others keep their order.
        sigma_px: Standard deviation of the Gaussian over the map, in pixels of the image.
    """

    needs_text = True
    needs_gradients = True

    def __init__(
        self,
        layer: int = -1,
        output: Literal["logit", "gaussian"] = "logit",
        sigma: float = 1.0,
        rectified: bool = False,
        sigma_px: float = 4.0,
    ) -> None:
        super().__init__()
        expect_choice("output", output, ("logit", "gaussian"))
        expect_sigma(sigma)
        expect_range("sigma_px", sigma_px, 0, 1000)
        self.layer = layer
        self.output: Literal["logit", "gaussian"] = output
        self.sigma = sigma
        self.rectified = rectified
        self.sigma_px = sigma_px

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores and maps, without a graph.

        Raises:
            ValueError: If the layer is not there, or the score does not come from its tokens.
        """
        del categories
        assert alignment is not None
        count = len(features.tokens)
        expect_choice("layer", str(self.layer), [str(each) for each in range(-count, count)])
        tokens, grid = features.tokens[self.layer], features.grids[self.layer]
        with torch.enable_grad():
            scores = image_evidence(alignment, self.output, self.sigma)
        gradients = self._gradients(scores, tokens)
        heat_BP = grad_cam(tokens.detach().float(), gradients.float(), self.rectified)
        return Prediction(
            scores.detach(), enlarge(heat_BP.unflatten(1, grid), image_size, self.sigma_px)
        )

    def _gradients(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """(B, P, C) derivative of each image's score; images of a batch do not touch each other."""
        if not (scores.requires_grad and tokens.requires_grad):
            raise ValueError(
                "expected features with a graph from tokens to the image score for GradCam, got "
                "plain tensors; let the task encode the images (needs_gradients), outside no_grad "
                "and inference mode"
            )
        # The graph is kept, because another head of a fusion may differentiate it, too.
        (found,) = torch.autograd.grad(
            scores, tokens, torch.ones_like(scores), retain_graph=True, allow_unused=True
        )
        if found is None or not found.any():
            raise ValueError(
                f"expected tokens of layer {self.layer} on the way to the image embedding for "
                "GradCam, got a layer that does not change it; choose an earlier layer (on a ViT, "
                "the class token reads the patches of the block before), or an adapter that pools "
                "the tokens"
            )
        return found
