"""A copy of a data set in which every file is of one size and one encoding, whatever its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from PIL import Image

from clad.checks import expect_range
from clad.data.images import (
    ImageArray,
    MaskArray,
    Size,
    decode_image,
    decode_mask,
    resize_image,
    resize_mask,
)
from clad.samples import Sample

Encoding = Literal["png", "jpeg"]
JPEG_QUALITY = 95
_SUFFIX = {"png": ".png", "jpeg": ".jpg"}


def reencode(
    samples: Sequence[Sample], root: Path, target: Path, size: Size, encoding: Encoding
) -> int:
    """Number of images written below ``target``, at the places they have below ``root``.

    Every image is decoded, resized (bilinear, antialiased when shrinking) and written as PNG, or as
    JPEG of quality 95 with full colour (4:4:4), without any metadata. Masks are resized by the
    nearest pixel and written as PNG. What an earlier compression did to the pixels stays in them.

    Args:
        samples: What to copy.
        root: Folder that all of their files lie in.
        target: New or empty folder.
        size: (height, width) of every copy.
        encoding: ``png`` or ``jpeg``.

    Raises:
        ValueError: If the target holds files or lies in the root, a file lies outside the root, or
            two files would get one name.
    """
    for side in size:
        expect_range("side", side, 1, float("inf"))
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"expected a new folder for the copies, found files in {target}")
    if target.resolve().is_relative_to(root.resolve()):
        raise ValueError(
            f"expected a folder for the copies outside of {root}, got {target}; they would be "
            "listed with the originals"
        )
    images = _places((s.image_path for s in samples), root, target, _SUFFIX[encoding])
    masks = _places((s.mask_path for s in samples if s.mask_path), root, target, _SUFFIX["png"])

    def copy_image(pair: tuple[Path, Path]) -> None:
        _write(resize_image(decode_image(pair[0]), size), pair[1])

    def copy_mask(pair: tuple[Path, Path]) -> None:
        _write(resize_mask(decode_mask(pair[0]), size), pair[1])

    with ThreadPoolExecutor() as pool:
        for work, pairs in ((copy_image, images), (copy_mask, masks)):
            for _ in pool.map(work, pairs.items()):
                pass
    return len(images)


def _places(files: Iterable[Path], root: Path, target: Path, suffix: str) -> dict[Path, Path]:
    """File -> where its copy goes."""
    places: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path in files:
        if not path.is_relative_to(root):
            raise ValueError(f"expected files in {root}, got {path}; name the folder above both")
        place = (target / path.relative_to(root)).with_suffix(suffix)
        other = taken.setdefault(place, path)
        if other != path:
            raise ValueError(
                f"expected names that differ in more than their suffix, got {other} and {path}; "
                "rename one"
            )
        places[path] = place
    return places


def _write(array: ImageArray | MaskArray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if path.suffix == _SUFFIX["jpeg"]:
        image.save(path, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    else:
        image.save(path, "PNG")
