"""Images that belong to no data set: files, arrays or PIL images -> batches without truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clad.data.cache import PixelCache, read_entry, write_entry
from clad.data.images import ImageArray, Size, fitting_size, open_rgb, resized, to_rgb
from clad.data.loading import num_cores
from clad.samples import GOOD
from clad.types import Batch

ImageLike = str | Path | NDArray | Image.Image
OnUnreadable = Callable[[str, Exception], None]
"""Is told the name of an image and what is wrong with it."""

_SIDE = np.dtype("<u4")
"""Of a height or width in a cache entry; 8 bytes, so that what follows stays aligned."""


@dataclass(frozen=True)
class Loading:
    """How images are read.

    Args:
        size: (height, width) to resize to.
        picture_px: Longest side of a grey picture to bring along, or None for none.
        cache: Where both are kept, so that a file is decoded once; None decodes every time.
    """

    size: Size
    picture_px: int | None = None
    cache: PixelCache | None = None


class LoadedImage(NamedTuple):
    """A decoded image.

    Args:
        name: Its path, or ``image N`` for the N-th one that has none.
        pixels: (h, w, 3) uint8 RGB, resized.
        image_size: (height, width) before.
        picture: (h', w') uint8 grey, in the shape of the image; None if none was asked for.
    """

    name: str
    pixels: ImageArray
    image_size: Size
    picture: NDArray[np.uint8] | None = None


def load_in_chunks(
    images: Iterable[ImageLike], how: Loading, most: int, on_unreadable: OnUnreadable | None = None
) -> Iterator[list[LoadedImage]]:
    """A few images at a time, in order; while a list is worked on, the next one is decoded.

    At most two lists are in memory at a time: the one that was given out, and the next.

    Args:
        images: Files, (H, W, 3) uint8 RGB arrays or PIL images.
        how: Their size, and what else is wanted.
        most: Images per list; a list with unreadable ones is shorter, an empty one is left out.
        on_unreadable: Is told of images that cannot be read; None raises.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If an image cannot be read.
    """
    numbered = iter(enumerate(images, 1))
    pool = ThreadPoolExecutor(num_cores())

    def start() -> list[Future[LoadedImage | _Unread]]:
        return [pool.submit(_try_to_load, each, how) for each in islice(numbered, most)]

    try:
        coming = start()
        while coming:
            found = [each.result() for each in coming]
            failure: Exception | None = None
            try:
                coming = start()
            except Exception as error:  # of the caller's own iterator, after what it gave before
                coming, failure = [], error
            loaded = list(_readable(found, on_unreadable))
            del found
            if loaded:
                yield loaded
            del loaded
            if failure is not None:
                raise failure
    finally:
        pool.shutdown(cancel_futures=True)


def _readable(
    found: Iterable[LoadedImage | _Unread], on_unreadable: OnUnreadable | None
) -> Iterator[LoadedImage]:
    for each in found:
        if isinstance(each, LoadedImage):
            yield each
        elif on_unreadable is None:
            raise each.error
        else:
            on_unreadable(each.name, each.error)


def batch_of(loaded: Sequence[LoadedImage], category: str) -> Batch:
    """Images of one category as a batch; it says "normal" of all of them, as nothing is known."""
    images = torch.from_numpy(np.stack([each.pixels for each in loaded]))
    count, height, width = images.shape[:3]
    return Batch(
        images=images.permute(0, 3, 1, 2).contiguous(),
        labels=torch.zeros(count, dtype=torch.int64),
        masks=torch.zeros(count, height, width, dtype=torch.bool),
        has_mask=torch.zeros(count, dtype=torch.bool),
        categories=(category,) * count,
        defect_types=(GOOD,) * count,
        paths=tuple(each.name for each in loaded),
    )


def batches_of(loaded: Sequence[LoadedImage], batch_size: int, category: str) -> Iterator[Batch]:
    """``batch_of`` of each ``batch_size`` of them."""
    for start in range(0, len(loaded), batch_size):
        yield batch_of(loaded[start : start + batch_size], category)


class _Unread(NamedTuple):
    """An image that could not be read."""

    name: str
    error: ValueError | OSError


def _try_to_load(numbered: tuple[int, ImageLike], how: Loading) -> LoadedImage | _Unread:
    number, image = numbered
    name = str(image) if isinstance(image, str | Path) else f"image {number}"
    try:
        if isinstance(image, str | Path):
            return _from_file(Path(image), name, how)
        return _shrunk(_as_rgb(image, name), name, how)
    except (ValueError, OSError) as error:
        return _Unread(name, error)


def _from_file(path: Path, name: str, how: Loading) -> LoadedImage:
    """From the cache where it is there, else decoded, and kept where there is a cache."""
    if how.cache is None or not path.is_file():
        return _shrunk(open_rgb(path), name, how)
    entry = how.cache.entry_path(path, ("loose", *how.size, how.picture_px))
    stored = read_entry(entry)
    loaded = None if stored is None else _unpacked(stored, name, how)
    if loaded is None:
        loaded = _shrunk(open_rgb(path), name, how)
        write_entry(entry, _packed(loaded))
    return loaded


def _shrunk(image: Image.Image, name: str, how: Loading) -> LoadedImage:
    size, picture = (image.height, image.width), None
    if how.picture_px is not None:
        picture = resized(image.convert("L"), fitting_size(size, how.picture_px))
    return LoadedImage(name, resized(image, how.size), size, picture)


def _packed(loaded: LoadedImage) -> bytes:
    """Height and width of the image, then its pixels, then its picture."""
    picture = b"" if loaded.picture is None else loaded.picture.tobytes()
    return np.array(loaded.image_size, dtype=_SIDE).tobytes() + loaded.pixels.tobytes() + picture


def _unpacked(content: NDArray[np.uint8], name: str, how: Loading) -> LoadedImage | None:
    """The image; None if the content is of another length than it says."""
    head, num_pixels = 2 * _SIDE.itemsize, 3 * how.size[0] * how.size[1]
    if content.size < head + num_pixels:
        return None
    height, width = content[:head].view(_SIDE).tolist()
    pixels = content[head : head + num_pixels].reshape(*how.size, 3)
    rest = content[head + num_pixels :]
    if how.picture_px is None:
        return None if rest.size else LoadedImage(name, pixels, (height, width))
    shape = fitting_size((height, width), how.picture_px)
    if rest.size != shape[0] * shape[1]:
        return None
    return LoadedImage(name, pixels, (height, width), rest.reshape(shape))


def _as_rgb(image: NDArray | Image.Image, name: str) -> Image.Image:
    if isinstance(image, Image.Image):
        return Image.fromarray(to_rgb(image))
    is_rgb = image.ndim == 3 and image.shape[2] == 3 and min(image.shape) > 0
    if image.dtype != np.uint8 or not is_rgb:
        raise ValueError(
            f"expected uint8 pixels (height, width, 3) in RGB for {name}, got {image.dtype} of "
            f"shape {image.shape}; convert them, or give a file or a PIL image"
        )
    return Image.fromarray(image)
