"""Embeddings of faces that were seen before, found by their pixels."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clad.checks import expect_range
from clad.face_encoders.base import FaceEncoder


class EmbeddingCache:
    """Encodes each face once.

    Args:
        encoder: Gives embeddings of new faces.
        max_entries: Most embeddings kept in memory, >= 0; those not asked for the longest go first.
        folder: Where they are kept between runs, apart for each encoder; None keeps none.
    """

    def __init__(
        self, encoder: FaceEncoder, max_entries: int = 65_536, folder: Path | None = None
    ) -> None:
        expect_range("max_entries", max_entries, 0, float("inf"))
        self.encoder = encoder
        self.max_entries = max_entries
        self.folder = None if folder is None else Path(folder) / _hex(encoder.fingerprint)
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, images: Tensor) -> Tensor:
        """(B, D) float32 on the images' device.

        Args:
            images: (B, 3, H, W) uint8 RGB face crops of any size.
        """
        if images.is_meta:  # there are no pixels to tell apart
            return self.encoder(images)
        keys = pixel_digests(images)
        found = {key: self._find(key) for key in keys}
        rows = {key: row for row, key in enumerate(keys) if found[key] is None}
        if rows:
            fresh = self.encoder(images[list(rows.values())]).cpu()
            for key, embedding in zip(rows, fresh, strict=True):
                found[key] = self._keep(key, embedding.clone())
        chosen = [found[key] for key in keys]
        return torch.stack([each for each in chosen if each is not None]).to(images.device)

    def __len__(self) -> int:
        """Number of embeddings in memory."""
        return len(self._kept)

    def _find(self, key: str) -> Tensor | None:
        embedding = self._kept.get(key)
        if embedding is None:
            embedding = self._read(key)
        if embedding is not None:
            self._remember(key, embedding)
        return embedding

    def _keep(self, key: str, embedding: Tensor) -> Tensor:
        self._remember(key, embedding)
        if self.folder is not None:
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.save(file, embedding.numpy())
            partial.replace(path)
        return embedding

    def _remember(self, key: str, embedding: Tensor) -> None:
        self._kept[key] = embedding
        self._kept.move_to_end(key)
        while len(self._kept) > self.max_entries:
            self._kept.popitem(last=False)

    def _read(self, key: str) -> Tensor | None:
        """The stored embedding; None if there is none, or a damaged one, which is made again."""
        if self.folder is None or not (path := self._path(key)).is_file():
            return None
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return None
        fits = values.shape == (self.encoder.embed_dim,) and values.dtype == np.float32
        return torch.from_numpy(values) if fits else None

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.npy"


def pixel_digests(images: Tensor) -> list[str]:
    """Hexadecimal digest of each image's size and pixels.

    Args:
        images: (B, C, H, W) uint8.
    """
    rows = images.detach().cpu().contiguous().numpy()
    size = repr(tuple(images.shape[1:])).encode()
    return [hashlib.blake2b(size + row.tobytes(), digest_size=16).hexdigest() for row in rows]


def _hex(fingerprint: Tensor) -> str:
    return bytes(fingerprint.cpu().tolist()).hex()
