"""Resized images on disk that later epochs and runs read instead of decoding again."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clad.data.images import DECODE_RULE_VERSION

NUM_CHECK_BYTES = 4
"""What an entry takes beside its content."""


class PixelCache:
    """Pixels by file, size and decode rule: one small file per image, written atomically.

    An entry is the CRC-32 of the pixels and the pixels themselves, so it takes height x width x 3
    bytes per image (0.19 MiB at 256 x 256) and a third of that per mask. Any number of workers
    and processes may share a folder; an entry that fails its check is made anew. Entries of
    files that changed are never read again; delete the folder to reclaim the space.

    Args:
        folder: Where entries live; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(
        self, path: Path, shape: tuple[int, ...], make: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Writable uint8 array of ``shape``, read from the cache or made and stored.

        Args:
            path: The file that the pixels come from.
            shape: Shape of the result; part of the key, so images and masks do not mix.
            make: Called when there is no valid entry.
        """
        entry = self.entry_path(path, shape)
        stored = read_entry(entry, math.prod(shape))
        if stored is not None:
            return stored.reshape(shape)
        pixels = make()
        write_entry(entry, np.ascontiguousarray(pixels).tobytes())
        return pixels

    def entry_path(self, path: Path, shape: tuple[object, ...]) -> Path:
        """Where the entry lives; changes with the file's path, time, length, and the shape.

        Args:
            path: The file that the content comes from.
            shape: Of the content, or whatever else it depends on.
        """
        status = path.stat()
        identity = (
            str(path.resolve()),
            status.st_mtime_ns,
            status.st_size,
            shape,
            DECODE_RULE_VERSION,
        )
        key = hashlib.sha256(repr(identity).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.pixels"


def read_entry(entry: Path, num_bytes: int | None = None) -> NDArray[np.uint8] | None:
    """(num_bytes,) uint8, writable; None if there is no entry or it is not as it was written.

    Args:
        entry: Its file.
        num_bytes: Of the content; None takes any number.
    """
    try:
        content = np.fromfile(entry, dtype=np.uint8)
    except FileNotFoundError:
        return None
    if content.size < NUM_CHECK_BYTES:
        return None
    check, kept = content[:NUM_CHECK_BYTES], content[NUM_CHECK_BYTES:]
    if num_bytes is not None and kept.size != num_bytes:
        return None
    if zlib.crc32(kept.data) != int.from_bytes(check.tobytes(), "little"):
        return None
    return kept


def write_entry(entry: Path, content: bytes) -> None:
    """Write the content behind its CRC-32; other processes see all of it or nothing."""
    write_atomically(entry, zlib.crc32(content).to_bytes(NUM_CHECK_BYTES, "little"), content)


def write_atomically(path: Path, *parts: bytes) -> None:
    """Write a file, and its folder, such that other processes see all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
