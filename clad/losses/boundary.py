"""Patch logits against the seam of a blend (Face X-ray)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_range, expect_shape
from clad.features import enlarge
from clad.losses.base import Loss
from clad.losses.pixels import expect_alignment, nothing
from clad.types import LossInputs


def boundary_map(masks: Tensor, sigma_px: float) -> Tensor:
    """Where two images were blended: ``4 M (1 - M)`` of the softened mask M.

    Args:
        masks: (B, H, W) bool or float in [0, 1].
        sigma_px: Standard deviation of the Gaussian that softens them, in pixels, >= 0.

    Returns:
        (B, H, W) float in [0, 1]: 1 where half of each image shows, 0 where one shows alone.

    Source: Face X-ray (Li et al., CVPR 2020, arXiv:1912.13458), equation 2.
    """
    expect_shape("masks", masks, (None, None, None))
    size = (masks.shape[1], masks.shape[2])
    soft = enlarge(masks.float(), size, sigma_px).clamp(0, 1)
    return 4 * soft * (1 - soft)


class Boundary(Loss):
    """Cross-entropy of every layer's patch logits against the share of seam in the patch.

    The map then shows the seam of a forgery, not its area, and nothing at all in a real image.

    Source: Face X-ray (Li et al., CVPR 2020, arXiv:1912.13458): L_b. The paper predicts each pixel
    of the map from an HRNet's joined branches; here each layer of tokens has its own, of one value
    per patch, which is the mean of the seam over its pixels. The paper's soft mask is that of the
    blend; a batch carries the area, which is softened here.

    Args:
        weight: Factor in the sum, >= 0.
        sigma_px: Softness of the mask, in pixels, in [0, 1000].
    """

    def __init__(self, weight: float = 1.0, sigma_px: float = 5.0) -> None:
        super().__init__(weight)
        expect_range("sigma_px", sigma_px, 0, 1000)
        self.sigma_px = sigma_px

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar over the images with a mask, summed over layers; zero where there is none."""
        who = type(self).__name__
        alignment = expect_alignment(inputs, who)
        if not alignment.patch_logits:
            raise ValueError(
                f"expected patch logits for {who}, got none; set patches of the linear head to "
                "true (configs/head/linear_patches.yaml)"
            )
        total = nothing(inputs, who)
        known = inputs.batch.has_mask
        if not known.any():
            return total
        with torch.autocast(known.device.type, enabled=False):  # it would round the products
            seam = boundary_map(inputs.batch.masks[known], self.sigma_px)[:, None]
            for logits_BP2, grid in zip(alignment.patch_logits, alignment.grids, strict=True):
                margins = logits_BP2[known].float().diff(dim=-1).squeeze(-1).unflatten(1, grid)
                targets = functional.adaptive_avg_pool2d(seam, grid).squeeze(1)
                total = total + functional.binary_cross_entropy_with_logits(margins, targets)
        return total
