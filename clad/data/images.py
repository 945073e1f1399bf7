"""Image files -> uint8 RGB and bool masks, at their stored size or resized.

How pixel values become 0 to 255 depends only on the file's bit depth and rule below, never on a
stretch of one image's own minimum and maximum, so grey values stay comparable between files:

* 8 bits and less, palettes, 1-bit: as stored. 16 bits: divided by 257.
* 32-bit integers: as 16-bit values if none exceeds 65535 (sensors often pad 16 bits to 32), else
  by the full range of the type; negative values are refused.
* Float: [0, 1] times 255; [0, 255] as stored; [0, 65535] divided by 257; negative values, larger
  ones, NaN and infinity are refused.
* Alpha (also LA and transparent palettes): composited over black, so that colours hidden under
  transparent pixels never reach a model.
* CMYK, YCbCr, LAB: converted by Pillow. EXIF orientation is applied. Of several frames the first.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

ImageArray = NDArray[np.uint8]
MaskArray = NDArray[np.bool_]
Size = tuple[int, int]

DECODE_RULE_VERSION = 1
"""Part of every cache key; raise it when a rule of this file changes."""

_UNSIGNED_KEY = "is_unsigned"
_UNSIGNED_SAMPLES = 1
_TIFF_SAMPLE_FORMAT = 339
_JPEG_MASK_THRESHOLD = 128
_FULL_16_BIT = 65535
_TRANSPOSED_ORIENTATIONS = range(5, 9)


def decode_image(path: Path) -> ImageArray:
    """(H, W, 3) uint8 RGB, upright, by the rules of this module.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, truncated, not an image, or outside the float range.
    """
    return np.array(_to_rgb(_open(path), path))


def open_rgb(path: Path) -> Image.Image:
    """What ``decode_image`` decodes, as Pillow holds it: to be resized without another copy.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, truncated, not an image, or outside the float range.
    """
    return _to_rgb(_open(path), path)


def to_rgb(image: Image.Image) -> ImageArray:
    """(H, W, 3) uint8 RGB of an image in memory, upright, by the rules of this module.

    Raises:
        ValueError: If its pixels are outside the float range.
    """
    upright = ImageOps.exif_transpose(image)
    upright.info.setdefault(_UNSIGNED_KEY, _is_unsigned(image))
    return np.array(_to_rgb(upright, Path("memory")))


def decode_mask(path: Path) -> MaskArray:
    """(H, W) bool, True where any channel is not zero.

    Palettes count by colour, not by index; transparent pixels are False. JPEG leaves noise beside
    edges, so its masks are cut at 128 instead of above zero.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, truncated or not an image.
    """
    image = _open(path)
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return np.asarray(np.asarray(image) != 0)
    channels = np.asarray(_to_rgb(image, path)).max(axis=2)
    is_lossy = path.suffix.lower() in (".jpg", ".jpeg")
    return np.asarray(channels >= _JPEG_MASK_THRESHOLD if is_lossy else channels > 0)


def stored_size(path: Path) -> Size:
    """(height, width) of the upright image, read from the header only.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or not an image.
    """
    _expect_bytes(path)
    try:
        with _quiet_open(path) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            width, height = image.size
    except Exception as error:
        raise _unreadable(path, error) from error
    return (width, height) if orientation in _TRANSPOSED_ORIENTATIONS else (height, width)


def decode_fitting_mask(path: Path, image_path: Path) -> MaskArray:
    """``decode_mask`` of a mask that must have the stored size of its image.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the mask is unreadable, or the sizes differ, with both sizes (height, width)
            and both paths.
    """
    mask = decode_mask(path)
    image_size = stored_size(image_path)
    if image_size != mask.shape:
        raise ValueError(
            f"mask {mask.shape} differs from image {image_size} in {image_path} "
            f"(mask {path}); expected equal (height, width), export the mask at image size"
        )
    return mask


def resize_image(image: ImageArray, size: Size) -> ImageArray:
    """(H, W, 3) uint8 at ``size`` (height, width): bilinear, antialiased when shrinking."""
    return image if image.shape[:2] == size else resized(Image.fromarray(image), size)


def resized(image: Image.Image, size: Size) -> ImageArray:
    """uint8 of an RGB or grey image at ``size`` (height, width): bilinear, antialiased."""
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(image, dtype=np.uint8)


def fitting_size(size: Size, longest_side_px: int) -> Size:
    """(height, width) shrunk until the longer one fits, at least 1 each; never enlarged."""
    height, width = size
    shrink = min(1.0, longest_side_px / max(size))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def resize_mask(mask: MaskArray, size: Size) -> MaskArray:
    """(H, W) bool at ``size`` (height, width): nearest pixel, so nothing is invented at edges.

    Defects thinner than the shrinking factor may vanish; that is the price of an exact rule.
    """
    if mask.shape == size:
        return mask
    height, width = size
    grey = Image.fromarray(mask.astype(np.uint8))
    return np.array(grey.resize((width, height), Image.Resampling.NEAREST), dtype=bool)


def _open(path: Path) -> Image.Image:
    """Decoded, upright image in its own mode."""
    _expect_bytes(path)
    try:
        with _quiet_open(path) as image:
            image.load()
            unsigned = _is_unsigned(image)
            ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:
        raise _unreadable(path, error) from error
    image.info[_UNSIGNED_KEY] = unsigned
    return image


def _quiet_open(path: Path) -> Image.Image:
    """Lazily opened file; Pillow's remarks on odd metadata are nothing a user can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(path)


def _is_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF declares unsigned samples; Pillow reads 32-bit integers as signed."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return False
    declared = tags.get(_TIFF_SAMPLE_FORMAT, _UNSIGNED_SAMPLES)
    first = declared[0] if isinstance(declared, tuple) else declared
    return int(first) == _UNSIGNED_SAMPLES


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _grey_to_rgb(np.asarray(image).astype(np.float64) / 257)
    if image.mode == "I":
        is_unsigned = bool(image.info[_UNSIGNED_KEY])
        return _grey_to_rgb(_scale_integers(np.asarray(image), is_unsigned, path))
    if image.mode == "F":
        return _grey_to_rgb(_scale_floats(np.asarray(image, dtype=np.float64), path))
    has_alpha = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    if has_alpha:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        image = Image.alpha_composite(canvas, layer)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_to_rgb(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _scale_integers(
    values: NDArray[np.int32], is_unsigned: bool, path: Path
) -> NDArray[np.float64]:
    wide = values.view(np.uint32) if is_unsigned else values
    if wide.min(initial=0) < 0:
        raise ValueError(
            f"expected integer pixels of at least 0, got {wide.min()} in {path}; shift the values"
        )
    if wide.max(initial=0) <= _FULL_16_BIT:
        return wide.astype(np.float64) / 257
    return wide.astype(np.float64) * (255 / np.iinfo(wide.dtype).max)


def _scale_floats(values: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not (np.isfinite(values).all() and low >= 0 and high <= _FULL_16_BIT):
        raise ValueError(
            f"expected float pixels in [0, 1], [0, 255] or [0, 65535], got [{low:g}, {high:g}] "
            f"in {path}; rescale the file"
        )
    if high <= 1:
        return values * 255
    return values if high <= 255 else values / 257


def _expect_bytes(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"expected an image file, found nothing at {path}; check the path")
    if path.stat().st_size == 0:
        raise ValueError(f"expected an image, got an empty file (0 bytes) at {path}; copy it again")


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = str(error).split("\n", maxsplit=1)[0] or type(error).__name__
    return ValueError(
        f"expected an image, got a file that is corrupt, truncated or of an unsupported kind at "
        f"{path} ({reason}); copy it again, convert it to PNG, or remove it"
    )
