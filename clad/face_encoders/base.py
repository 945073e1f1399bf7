"""The face-encoder contract: face crops -> identity embeddings."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_range, expect_shape
from clad.precision import full_precision

_DIGEST_BYTES = 16
_FINGERPRINT = "fingerprint"


class FaceEncoder(nn.Module, ABC):
    """A frozen face-recognition network (E_F of RepDFD). One file and one YAML per encoder.

    It owns size, channel order and normalisation of its input. A subclass loads its weights in
    ``__init__`` and ends it with ``self.freeze(...)``. The weights never learn and are in no
    checkpoint; their fingerprint is, and a checkpoint made with other weights is refused.

    Args:
        image_size: (height, width) that the network sees.
        embed_dim: Width of the embeddings.
        centre: Share of each side that is kept around the middle of a crop before it is resized, in
            (0, 1]; a face that was cut out with a margin of 1.3 fills the inner 0.77.
    """

    fingerprint: Tensor
    """(16,) uint8 digest of whatever decides the embeddings."""

    def __init__(self, image_size: tuple[int, int], embed_dim: int, centre: float = 1.0) -> None:
        super().__init__()
        expect_range("centre", centre, 0.05, 1)
        self.image_size = image_size
        self.embed_dim = embed_dim
        self.centre = centre

    def freeze(self, *settings: object) -> None:
        """Stop gradients into every weight, for good, and take the fingerprint.

        Args:
            settings: Whatever decides the embeddings beside weights, size and ``centre``; compared
                as text.
        """
        self.requires_grad_(False)
        self.eval()
        own = (type(self).__qualname__, self.image_size, self.centre, *settings)
        digest = hashlib.blake2b(repr(own).encode(), digest_size=_DIGEST_BYTES)
        for name, tensor in (*self.named_parameters(), *self.named_buffers()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(flat.numpy().data)
        found = torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
        self.register_buffer(_FINGERPRINT, found)
        self.register_state_dict_post_hook(_leave_weights_out)
        self.register_load_state_dict_pre_hook(_expect_same_encoder)

    def train(self, mode: bool = True) -> FaceEncoder:
        """Evaluation mode, always."""
        del mode
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, embed_dim) float32 embeddings as the network gives them, without unit length.

        Args:
            images: (B, 3, H, W) uint8 RGB face crops of any size.

        Raises:
            ValueError: If they are no such crops, or empty.
        """
        expect_shape("face crops", images, (None, 3, None, None))
        height, width = images.shape[-2:]
        if images.dtype != torch.uint8 or not height or not width:
            raise ValueError(
                f"expected uint8 face crops of at least 1 x 1 pixels, got {images.dtype} of "
                f"{height} x {width}; give pixels as they were decoded"
            )
        with torch.no_grad(), full_precision(images.device):
            return self.embed(self._resize(images)).float()

    @abstractmethod
    def embed(self, pixels: Tensor) -> Tensor:
        """(B, embed_dim) float embeddings of crops of the network's size.

        Args:
            pixels: (B, 3, *image_size) float RGB in [0, 255], not normalised.
        """

    def _resize(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        kept = [max(1, round(self.centre * side)) for side in (height, width)]
        top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
        pixels = images[..., top : top + kept[0], left : left + kept[1]].float()
        if tuple(kept) == self.image_size:
            return pixels
        return functional.interpolate(
            pixels, self.image_size, mode="bilinear", align_corners=False, antialias=True
        )


def _leave_weights_out(
    module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, Any]
) -> None:
    """Keep the fingerprint alone of a module's own entries."""
    del module, metadata
    for name in [each for each in state if each.startswith(prefix)]:
        if name != prefix + _FINGERPRINT:
            del state[name]


def _expect_same_encoder(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *others: object
) -> None:
    """Refuse the checkpoint of another encoder; let weights be loaded from themselves.

    Raises:
        ValueError: If the fingerprints differ.
    """
    del others
    own = {prefix + n: t for n, t in (*module.named_parameters(), *module.named_buffers())}
    given = state.get(prefix + _FINGERPRINT)
    if given is not None and not torch.equal(given.cpu(), own[prefix + _FINGERPRINT].cpu()):
        raise ValueError(
            f"expected the face encoder that the checkpoint was trained with, got another "
            f"{type(module).__name__}; give the same file of weights and the same settings"
        )
    state.update({name: tensor for name, tensor in own.items() if name != prefix + _FINGERPRINT})
