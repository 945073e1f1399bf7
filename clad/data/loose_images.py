"""Images that belong to no data set: files, arrays or PIL images -> batches without truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clad.data.images import ImageArray, Size, decode_image, resize_image, to_rgb
from clad.samples import GOOD
from clad.types import Batch

ImageLike = str | Path | NDArray | Image.Image
OnUnreadable = Callable[[str, Exception], None]
"""Is told the name of an image and what is wrong with it."""


class LoadedImage(NamedTuple):
    """A decoded image.

    Args:
        name: Its path, or ``image N`` for the N-th one that has none.
        pixels: (h, w, 3) uint8 RGB, resized.
        image_size: (height, width) before.
    """

    name: str
    pixels: ImageArray
    image_size: Size


def load_in_chunks(
    images: Iterable[ImageLike], size: Size, most: int, on_unreadable: OnUnreadable | None = None
) -> Iterator[list[LoadedImage]]:
    """A few images at a time, decoded side by side, in order.

    Args:
        images: Files, (H, W, 3) uint8 RGB arrays or PIL images.
        size: (height, width) to resize to.
        most: Images per list; a list with unreadable ones is shorter, an empty one is left out.
        on_unreadable: Is told of images that cannot be read; None raises.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If an image cannot be read.
    """
    numbered = iter(enumerate(images, 1))
    with ThreadPoolExecutor() as pool:
        while chunk := list(islice(numbered, most)):
            loaded = []
            for found in pool.map(partial(_try_to_load, size=size), chunk):
                if isinstance(found, LoadedImage):
                    loaded.append(found)
                elif on_unreadable is None:
                    raise found[1]
                else:
                    on_unreadable(*found)
            if loaded:
                yield loaded


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


def _try_to_load(
    numbered: tuple[int, ImageLike], size: Size
) -> LoadedImage | tuple[str, ValueError | OSError]:
    """The image, or its name and what is wrong with it."""
    number, image = numbered
    name = str(image) if isinstance(image, str | Path) else f"image {number}"
    try:
        pixels = _pixels(image, name)
    except (ValueError, OSError) as error:
        return name, error
    return LoadedImage(name, resize_image(pixels, size), (pixels.shape[0], pixels.shape[1]))


def _pixels(image: ImageLike, name: str) -> ImageArray:
    if isinstance(image, str | Path):
        return decode_image(Path(image))
    if isinstance(image, Image.Image):
        return to_rgb(image)
    is_rgb = image.ndim == 3 and image.shape[2] == 3 and min(image.shape) > 0
    if image.dtype != np.uint8 or not is_rgb:
        raise ValueError(
            f"expected uint8 pixels (height, width, 3) in RGB for {name}, got {image.dtype} of "
            f"shape {image.shape}; convert them, or give a file or a PIL image"
        )
    return image
