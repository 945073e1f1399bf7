"""Maps and grey pictures that wait on disk until all scores are known, then become heat maps."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clad.data.images import open_rgb, resized
from clad.data.loading import num_cores
from clad.reports.overlay import overlay_on_grey, to_grey

_MAPS, _PICTURES = ".maps.float32", ".pictures.uint8"
_COMPRESSION = 1
"""Of PNG files: a quarter of the default's time for files a twentieth larger."""


class WaitingMaps:
    """Two files that grow with the images, so that memory does not.

    Args:
        folder: Where they lie until the heat maps are written.
        owner: Sets them apart from those of other processes.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self._maps, self._pictures = folder / f"{_MAPS}.{owner}", folder / f"{_PICTURES}.{owner}"
        self._kept: list[_Kept] = []
        self._end = 0

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Remove the files, also those that an interrupted call left."""
        for file in (self._maps, self._pictures):
            file.unlink(missing_ok=True)

    def add(
        self, path: str, values: NDArray[np.float32], picture: NDArray[np.uint8] | None
    ) -> None:
        """Keep the map of an image, and the grey picture that it will be drawn on.

        Args:
            path: The image; it is decoded again at the end where there is no picture.
            values: (h, w) float32, the same size for all.
            picture: (h', w') uint8, or None.
        """
        kept = _Kept(path, values.shape, None if picture is None else picture.shape, self._end)
        self._kept.append(kept)
        with self._maps.open("ab") as file:
            file.write(np.ascontiguousarray(values, dtype=np.float32).tobytes())
        if picture is not None:
            self._end += picture.size
            with self._pictures.open("ab") as file:
                file.write(picture.tobytes())

    def write_pictures(
        self, folder: Path, names: Mapping[str, str], low: float, high: float
    ) -> None:
        """Heat maps on one colour scale, several at a time.

        Args:
            folder: Where they go.
            names: Path of an image -> name of its picture in the folder.
            low: Map value at the lower end of the scale.
            high: At the upper end.
        """

        def write(row: int) -> None:
            kept = self._kept[row]
            grey = self._picture_of(kept)
            count = math.prod(kept.map_size)
            values = np.fromfile(self._maps, np.float32, count, offset=4 * count * row)
            enlarged = _enlarge(values.reshape(kept.map_size), grey.shape)
            drawn = overlay_on_grey(grey, np.clip((enlarged - low) / (high - low), 0, 1))
            file = folder / names[kept.path]
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(file, compress_level=_COMPRESSION)

        with ThreadPoolExecutor(num_cores()) as pool:
            for _ in pool.map(write, range(len(self._kept))):
                pass
        self.clear()

    def _picture_of(self, kept: _Kept) -> NDArray[np.uint8]:
        if kept.picture_size is None:
            height, width = kept.map_size
            return to_grey(resized(open_rgb(Path(kept.path)), (height, width)))
        count = math.prod(kept.picture_size)
        found = np.fromfile(self._pictures, np.uint8, count, offset=kept.offset)
        return found.reshape(kept.picture_size)


class _Kept(NamedTuple):
    """Where map and picture of an image lie; they are as many bytes as their sizes say."""

    path: str
    map_size: tuple[int, ...]
    picture_size: tuple[int, ...] | None
    offset: int


def picture_names(paths: Sequence[str]) -> list[str]:
    """Relative PNG names, one per image, laid out as the images are.

    Other suffixes are kept before ``.png``, so that ``a.jpg`` and ``a.png`` do not meet.
    """
    absolute = [Path(path).absolute() for path in paths]
    base = os.path.commonpath([path.parent for path in absolute])
    names = [path.relative_to(base).as_posix() for path in absolute]
    return [name if name.lower().endswith(".png") else f"{name}.png" for name in names]


def _enlarge(values: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    if values.shape == size:
        return values
    height, width = size
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))
