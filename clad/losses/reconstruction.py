"""CLAD's regulariser: what was encoded can be decoded again."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_choice, expect_shape
from clad.losses.base import Loss
from clad.towers.base import Tower
from clad.types import LossInputs


def reconstruction(decoded: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over images and dimensions.

    The paper writes a squared norm; the mean over dimensions keeps its factor independent of width.

    Args:
        decoded: (B, C) float.
        target: (B, C) float.

    Returns:
        Scalar float, >= 0.

    Raises:
        ValueError: If shapes do not fit.

    Source: CLAD (arXiv:2412.00890), reconstruction loss.
    """
    expect_shape("decoded", decoded, tuple(target.shape))
    return (decoded - target).square().mean()


class Reconstruction(Loss):
    """Two small decoders: embedding -> image, text embedding -> itself through a bottleneck.

    It asks that the shared space keep what the encoders knew. Targets carry no gradient. Where the
    text side is frozen, its half teaches the decoder only; switch it off then.

    Source: CLAD (arXiv:2412.00890), which leaves decoder and target open. Ours is a two-layer
    perceptron on the pooled embedding.

    Args:
        weight: Factor in the sum, >= 0: the paper's lambda; it gives none, 0.1 is a start.
        image_target: ``summary`` is the trunk's image vector, standardised (layer norm);
            ``thumbnail`` the image itself, shrunk, in [0, 1].
        reconstructs_text: Whether text embeddings are reconstructed, too.
        hidden_dim: Width between the two layers.
        thumbnail_px: Height and width of the thumbnail.
    """

    def __init__(
        self,
        weight: float = 0.1,
        image_target: Literal["summary", "thumbnail"] = "summary",
        reconstructs_text: bool = True,
        hidden_dim: int = 128,
        thumbnail_px: int = 16,
    ) -> None:
        super().__init__(weight)
        expect_choice("image_target", image_target, ("summary", "thumbnail"))
        if hidden_dim < 1 or thumbnail_px < 1:
            raise ValueError(
                "expected hidden_dim and thumbnail_px of at least 1, "
                f"got {hidden_dim} and {thumbnail_px}"
            )
        self.image_target = image_target
        self.needs_pixels = image_target == "thumbnail"
        self.reconstructs_text = reconstructs_text
        self.hidden_dim = hidden_dim
        self.thumbnail_px = thumbnail_px
        self.image_decoder: nn.Module | None = None
        self.text_decoder: nn.Module | None = None

    def attach(self, tower: Tower) -> None:
        """Create the decoders in the tower's widths."""
        width = tower.summary_dim if self.image_target == "summary" else 3 * self.thumbnail_px**2
        self.image_decoder = self._decoder(tower.embed_dim, width)
        if self.reconstructs_text:
            self.text_decoder = self._decoder(tower.embed_dim, tower.embed_dim)

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar: the image half, plus the text half where asked for.

        Raises:
            ValueError: If not attached, or image or text embeddings are missing.
        """
        pooled, prototypes = inputs.features.pooled, inputs.prototypes
        if self.image_decoder is None:
            raise ValueError("expected attach(tower) before the first batch, got none; call it")
        if pooled is None:
            raise ValueError(
                "expected pooled image embeddings to reconstruct from, got none; give the model an "
                "adapter that aligns the tower"
            )
        total = reconstruction(self.image_decoder(pooled), self._image_target(inputs))
        if self.text_decoder is not None:
            if prototypes is None:
                raise ValueError(
                    "expected text prototypes to reconstruct, got none; give the model a prompt "
                    "strategy or set reconstructs_text to false"
                )
            bank = prototypes.bank
            text = prototypes.embeddings.flatten(0, 1) if bank is None else bank.embeddings
            total = total + reconstruction(self.text_decoder(text), text.detach())
        return total

    def _decoder(self, width_in: int, width_out: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(width_in, self.hidden_dim), nn.GELU(), nn.Linear(self.hidden_dim, width_out)
        )

    @torch.no_grad()
    def _image_target(self, inputs: LossInputs) -> Tensor:
        if self.image_target == "summary":
            summary = inputs.features.summary.float()
            return functional.layer_norm(summary, summary.shape[-1:])
        images = inputs.batch.images
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        size = (self.thumbnail_px, self.thumbnail_px)
        return functional.interpolate(pixels, size, mode="area").flatten(1)
