"""What an image file says of itself before a pixel is looked at."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

_CHROMA = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_OTHER_CHROMA, _NO_CHROMA = "other", "none"

# Tables K.1 and K.2 of ITU-T T.81, row by row.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


@dataclass(frozen=True)
class FileFacts:
    """Facts of one file.

    Args:
        suffix: Of the name, in small letters.
        format: What the content is, as Pillow names it: ``PNG``, ``JPEG``.
        mode: Colour mode: ``RGB``, ``L``, ``P``, ``RGBA``, ``CMYK``.
        chroma: Subsampling of colour in a JPEG: ``4:4:4``, ``4:2:2``, ``4:2:0``, ``other``; else
            ``none``.
        jpeg_quality: ``jpeg_quality``; NaN where it is no JPEG.
        num_bytes: Length of the file.
        width: In pixels, as stored.
        height: In pixels, as stored.
        has_exif: Whether it carries EXIF entries.
        is_progressive: Whether it is a progressive JPEG.
    """

    suffix: str
    format: str
    mode: str
    chroma: str
    jpeg_quality: float
    num_bytes: int
    width: int
    height: int
    has_exif: bool
    is_progressive: bool

    @property
    def bytes_per_pixel(self) -> float:
        """Length of the file by number of pixels."""
        return self.num_bytes / (self.width * self.height)


def read_facts(path: Path) -> FileFacts:
    """Facts of a file; no pixel is decoded.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is no image.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected an image file, found nothing at {path}; check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return _facts(image, path)
    except (OSError, SyntaxError) as error:
        raise ValueError(
            f"expected an image, got something else at {path}; convert it to PNG, or remove it"
        ) from error


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> float:
    """Quality in [1, 100] whose tables in libjpeg are nearest to these; NaN if there is none.

    Cameras and some programs have tables of their own: for those it is a rough equivalent.

    Args:
        tables: Number of the table -> 64 divisors, row by row; 0 luminance, 1 chrominance.

    Source: the scaling of libjpeg (``jpeg_quality_scaling``); tables K.1 and K.2 of ITU-T T.81.
    """
    if 0 not in tables:
        return float("nan")
    known = _standard_tables()
    used = [number for number in (0, 1) if number in tables]
    distance = sum(np.abs(known[:, n] - np.asarray(tables[n])).sum(axis=1) for n in used)
    return float(np.argmin(distance)) + 1


@cache
def _standard_tables() -> NDArray[np.int64]:
    """(100, 2, 64): quality - 1, luminance and chrominance, divisor."""
    base = np.array([_LUMINANCE, _CHROMINANCE], dtype=np.int64).reshape(2, 64)
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((base * scale[:, None, None] + 50) // 100, 1, 255)


def _facts(image: Image.Image, path: Path) -> FileFacts:
    is_jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    chroma, quality = _NO_CHROMA, float("nan")
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        quality = jpeg_quality(image.quantization)
        has_colour = image.mode != "L"
        sampling = JpegImagePlugin.get_sampling(image) if has_colour else -1
        chroma = _CHROMA.get(sampling, _OTHER_CHROMA) if has_colour else _NO_CHROMA
    return FileFacts(
        suffix=path.suffix.lower(),
        format=image.format or "unknown",
        mode=image.mode,
        chroma=chroma,
        jpeg_quality=quality,
        num_bytes=path.stat().st_size,
        width=image.width,
        height=image.height,
        has_exif=len(image.getexif()) > 0,
        is_progressive=is_jpeg and bool(image.info.get("progressive")),
    )
