"""What a frozen tower says of images, on disk: one checked file per image, found by its content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from clad.data.cache import NUM_CHECK_BYTES, read_entry, write_atomically, write_entry
from clad.data.images import DECODE_RULE_VERSION
from clad.types import ImageFeatures

StoredPrecision = Literal["exact", "half"]

_MANY = tuple(f.name for f in fields(ImageFeatures) if str(f.type).startswith("tuple[Tensor"))
"""Fields of ``ImageFeatures`` that hold one tensor per layer or scale."""
_LAYOUT, _SUFFIX = "layout.json", ".features"
_DIGEST_BYTES = 20


@dataclass(frozen=True)
class TensorPlace:
    """One tensor of an entry.

    Args:
        field: Field of ``ImageFeatures`` that it belongs to.
        shape: Of one image, without the batch.
        dtype: In memory, as torch spells it without ``torch.``.
        stored: On disk.
    """

    field: str
    shape: tuple[int, ...]
    dtype: str
    stored: str


@dataclass(frozen=True)
class Layout:
    """Which tensors an entry holds, one after the other.

    Args:
        tensors: In order.
        grids: As in ``ImageFeatures``.
        patch_grids: Likewise.
        window_sides: Likewise.
    """

    tensors: tuple[TensorPlace, ...]
    grids: tuple[tuple[int, int], ...]
    patch_grids: tuple[tuple[int, int], ...] | None = None
    window_sides: tuple[int, ...] = ()

    @staticmethod
    def of(features: ImageFeatures, precision: StoredPrecision) -> Layout:
        """Layout of one image's features; ``half`` stores wide floats as float16."""
        places = []
        for name, tensor in _named_tensors(features):
            dtype = _name(tensor.dtype)
            is_wide = tensor.is_floating_point() and tensor.itemsize > 2
            stored = "float16" if precision == "half" and is_wide else dtype
            places.append(TensorPlace(name, tuple(tensor.shape[1:]), dtype, stored))
        return Layout(tuple(places), features.grids, features.patch_grids, features.window_sides)

    @property
    def num_bytes(self) -> int:
        """Size of an entry's content."""
        return sum(math.prod(p.shape) * _dtype(p.stored).itemsize for p in self.tensors)

    @property
    def num_file_bytes(self) -> int:
        """Size of an entry with its check."""
        return self.num_bytes + NUM_CHECK_BYTES

    def pack(self, features: ImageFeatures) -> bytes:
        """One image's features as an entry's content.

        Raises:
            ValueError: If a value does not fit into float16.
        """
        parts = []
        for place, (name, tensor) in zip(self.tensors, _named_tensors(features), strict=True):
            assert (name, tuple(tensor.shape[1:])) == (place.field, place.shape)
            kept = tensor.detach().cpu().to(_dtype(place.stored)).contiguous()
            if place.stored != place.dtype and not kept.isfinite().all():
                raise ValueError(
                    f"expected {name} within float16's range for precision half, got up to "
                    f"{tensor.abs().max().item():.3g}; set model.feature_cache.precision to exact"
                )
            parts.append(kept.view(torch.uint8).numpy().tobytes())
        return b"".join(parts)

    def unpack(self, content: np.ndarray[Any, np.dtype[np.uint8]]) -> ImageFeatures:
        """Features of one image, a batch of one, from an entry's content."""
        whole, start = torch.from_numpy(content), 0
        found = []
        for place in self.tensors:
            stored = _dtype(place.stored)
            end = start + math.prod(place.shape) * stored.itemsize
            part = whole[start:end].clone() if start % stored.itemsize else whole[start:end]
            tensor = part.view(stored).reshape(1, *place.shape)
            found.append((place.field, tensor.to(_dtype(place.dtype))))
            start = end
        return ImageFeatures(
            **_by_field(found),
            grids=self.grids,
            patch_grids=self.patch_grids,
            window_sides=self.window_sides,
        )

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> Layout:
        """The layout that ``to_json`` wrote.

        Raises:
            ValueError: If the text is something else.
        """
        try:
            raw = json.loads(text)
            places = tuple(
                TensorPlace(p["field"], tuple(p["shape"]), p["dtype"], p["stored"])
                for p in raw["tensors"]
            )
            patch_grids = raw["patch_grids"]
            return Layout(
                places,
                _pairs(raw["grids"]),
                None if patch_grids is None else _pairs(patch_grids),
                tuple(raw["window_sides"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("expected the layout of a feature cache, got other text") from error


class FeatureStore:
    """Features of images by the content of their files.

    Entries are written atomically and carry a CRC-32, so that any number of processes may share a
    folder and nothing broken is ever read. Loader workers get a copy, which only reads.

    Args:
        folder: Entries of one tower, with one transform, in one precision.
        layout: What an entry holds.
        digests: Image file -> digest of its bytes, for every image that will be asked for.
    """

    def __init__(self, folder: Path, layout: Layout, digests: Mapping[Path, str]) -> None:
        self.folder = folder
        self.layout = layout
        self.digests = dict(digests)

    def entry_path(self, path: Path) -> Path:
        """Where the entry of an image file lives."""
        digest = self.digests[path]
        return self.folder / digest[:2] / f"{digest}{_SUFFIX}"

    def has(self, path: Path) -> bool:
        """Whether there is an intact entry; reads all of it."""
        return read_entry(self.entry_path(path), self.layout.num_bytes) is not None

    def put(self, path: Path, features: ImageFeatures) -> None:
        """Keep the features of one image, a batch of one."""
        write_entry(self.entry_path(path), self.layout.pack(features))

    def get(self, path: Path) -> ImageFeatures:
        """Features of one image, a batch of one.

        Raises:
            ValueError: If the entry is gone or damaged.
        """
        entry = self.entry_path(path)
        content = read_entry(entry, self.layout.num_bytes)
        if content is None:
            raise ValueError(
                f"expected the features of {path} in {entry}, found none that are intact; start "
                "the run again, it makes them anew"
            )
        return self.layout.unpack(content)


def read_layout(folder: Path) -> Layout | None:
    """The layout of a store's folder; None if there is none that can be read."""
    try:
        return Layout.from_json((folder / _LAYOUT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_layout(folder: Path, layout: Layout) -> None:
    """Keep the layout in a store's folder."""
    write_atomically(folder / _LAYOUT, layout.to_json().encode())


def content_digests(paths: Iterable[Path]) -> dict[Path, str]:
    """Digest of the bytes of each file and of the rule by which they become pixels."""
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor() as pool:
        return dict(zip(unique, pool.map(_digest, unique), strict=True))


def _digest(path: Path) -> str:
    rule = str(DECODE_RULE_VERSION).encode()
    return hashlib.blake2b(path.read_bytes(), digest_size=_DIGEST_BYTES, salt=rule).hexdigest()


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def split_features(features: ImageFeatures) -> list[ImageFeatures]:
    """A batch of features image by image."""
    return [features.map(itemgetter(slice(n, n + 1))) for n in range(len(features.summary))]


def join_features(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    """Features of several images as one batch."""
    columns = zip(*(_named_tensors(part) for part in parts), strict=True)
    joined = [(column[0][0], torch.cat([tensor for _, tensor in column])) for column in columns]
    return replace(parts[0], **_by_field(joined))


def _named_tensors(features: ImageFeatures) -> list[tuple[str, Tensor]]:
    """Every tensor with the field that it belongs to."""
    return [
        (field.name, tensor)
        for field in fields(features)
        for tensor in _listed(getattr(features, field.name))
    ]


def _by_field(named: Iterable[tuple[str, Tensor]]) -> dict[str, Any]:
    """Values of the fields of ``ImageFeatures`` from their tensors in order."""
    found: dict[str, list[Tensor]] = {}
    for name, tensor in named:
        found.setdefault(name, []).append(tensor)
    return {name: tuple(each) if name in _MANY else each[0] for name, each in found.items()}


def _listed(value: object) -> list[Tensor]:
    values = value if isinstance(value, tuple) else (value,)
    return [each for each in values if isinstance(each, Tensor)]


def _pairs(grids: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(height), int(width)) for height, width in grids)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found
