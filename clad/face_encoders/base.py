"""The face-encoder contract: face crops -> identity embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class FaceEncoder(nn.Module, ABC):
    """A frozen face-recognition network (E_F of RepDFD). One file and one YAML per encoder.

    It owns size, channel order and normalisation of its input.
    """

    embed_dim: int
    """Width of the embeddings."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(B, embed_dim) float32 embeddings as the network gives them, without unit length.

        Args:
            images: (B, 3, H, W) uint8 RGB face crops of any size.
        """
