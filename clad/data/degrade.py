"""What happens to pictures on their way: compression, blur, noise, resizing, re-encoding.

Every function takes the picture as it is stored, before it is resized for a model, and gives one of
the same size. Nothing is drawn but noise, and that from the seed and the picture alone: the same
picture gets the same noise in whatever order, folder or process it is looked at, and stronger noise
is the same pattern, stronger.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from clad.checks import expect_choice, expect_range
from clad.data.images import ImageArray

JPEG, BLUR, NOISE, RESIZE, REENCODE = "jpeg", "blur", "noise", "resize", "reencode"

LEVELS: dict[str, tuple[float | str, ...]] = {
    JPEG: (95, 90, 75, 60, 50, 40, 30),
    BLUR: (0.5, 1, 2, 3),
    NOISE: (2, 5, 10, 20),
    RESIZE: (0.75, 0.5, 0.25),
    REENCODE: ("jpeg twice", "webp", "video"),
}
"""Kind -> levels, from weak to strong: JPEG quality; sigma of the Gaussian blur in pixels; sigma of
the Gaussian noise in grey levels; share of the sides that is kept in between; a way of encoding."""

_FIRST_JPEG, _SECOND_JPEG, _WEBP_QUALITY = 90, 75, 80
_SHIFT_PX = 4
_VIDEO_CODEC, _VIDEO_RATE, _VIDEO_BLOCK_PX = "mp4v", 25, 16


@dataclass(frozen=True)
class Degradation:
    """One kind at one level.

    Args:
        kind: A key of ``LEVELS``.
        level: A number in the kind's unit; for ``reencode`` one of its names.

    Raises:
        ValueError: If the kind is unknown, or the level is none of that kind.
    """

    kind: str
    level: float | str

    def __post_init__(self) -> None:
        expect_choice("kind of degradation", self.kind, LEVELS)
        if self.kind == REENCODE:
            expect_choice("way of encoding", str(self.level), map(str, LEVELS[REENCODE]))
            return
        if isinstance(self.level, str):
            raise ValueError(f"expected a number as level of {self.kind}, got {self.level!r}")
        low, high = {JPEG: (1, 100), BLUR: (0, 100), NOISE: (0, 255), RESIZE: (0.01, 1)}[self.kind]
        expect_range(f"level of {self.kind}", self.level, low, high)

    @property
    def name(self) -> str:
        """``jpeg 75``, ``blur 0.5``, ``webp``."""
        return str(self.level) if self.kind == REENCODE else f"{self.kind} {self.level:g}"


def list_degradations(kinds: Iterable[str] | None = None) -> list[Degradation]:
    """All levels of some kinds, in the order of ``LEVELS``; None takes every kind.

    Raises:
        ValueError: If a kind is unknown, or there is none.
    """
    wanted = list(LEVELS if kinds is None else kinds)
    for kind in wanted:
        expect_choice("kind of degradation", kind, LEVELS)
    if not wanted:
        raise ValueError(f"expected at least one kind of {', '.join(LEVELS)}, got none")
    return [Degradation(kind, each) for kind in LEVELS if kind in wanted for each in LEVELS[kind]]


def degrade(image: ImageArray, degradation: Degradation, seed: int = 0) -> ImageArray:
    """(H, W, 3) uint8 RGB, degraded; of the same size.

    Args:
        image: (H, W, 3) uint8 RGB.
        degradation: What happens to it.
        seed: Of the noise, at least 0.
    """
    level = degradation.level
    if degradation.kind == REENCODE:
        return {"jpeg twice": jpeg_twice, "webp": webp, "video": video}[str(level)](image)
    number = float(level)
    if degradation.kind == JPEG:
        return jpeg(image, round(number))
    if degradation.kind == BLUR:
        return blur(image, number)
    return add_noise(image, number, seed) if degradation.kind == NOISE else rescale(image, number)


def jpeg(image: ImageArray, quality: int) -> ImageArray:
    """As libjpeg gives it back: its quality in [1, 100], colour at half resolution (4:2:0)."""
    return _through_file(image, "JPEG", quality=quality, subsampling="4:2:0")


def jpeg_twice(image: ImageArray) -> ImageArray:
    """Quality 90, then 75 with the grid of 8 x 8 blocks shifted by 4 pixels, as after a crop."""
    first = jpeg(image, _FIRST_JPEG)
    height, width = image.shape[:2]
    shifted = np.pad(first, ((_SHIFT_PX, 0), (_SHIFT_PX, 0), (0, 0)), mode="edge")
    second = jpeg(shifted, _SECOND_JPEG)
    return np.ascontiguousarray(second[-height:, -width:])


def webp(image: ImageArray) -> ImageArray:
    """As lossy WebP of quality 80 gives it back."""
    return _through_file(image, "WEBP", quality=_WEBP_QUALITY)


def video(image: ImageArray) -> ImageArray:
    """As the one frame of an MPEG-4 (part 2) video gives it back, at OpenCV's bit rate.

    Sides are filled up to multiples of 16 by their last pixels, and cut again.

    Raises:
        ImportError: If OpenCV was built without that codec.
    """
    height, width = image.shape[:2]
    bottom, right = -height % _VIDEO_BLOCK_PX, -width % _VIDEO_BLOCK_PX
    padded = np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "frame.mp4")
        codec = cv2.VideoWriter.fourcc(*_VIDEO_CODEC)
        size = (padded.shape[1], padded.shape[0])
        writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, codec, _VIDEO_RATE, size)
        writer.write(np.ascontiguousarray(padded[:, :, ::-1]))
        writer.release()
        reader = cv2.VideoCapture(path)
        found, frame = reader.read()
        reader.release()
    if not found:
        raise ImportError(
            f"expected an OpenCV that writes {_VIDEO_CODEC} videos, got none of that kind; install "
            "opencv-python-headless from its own wheel, or leave `reencode` out of --kinds"
        )
    return np.ascontiguousarray(frame[:height, :width, ::-1])


def blur(image: ImageArray, sigma: float) -> ImageArray:
    """Gaussian blur of ``sigma`` pixels, mirrored at the border."""
    if sigma == 0:
        return image.copy()
    smooth = cv2.GaussianBlur(
        image.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101
    )
    return _to_uint8(smooth)


def add_noise(image: ImageArray, sigma: float, seed: int = 0) -> ImageArray:
    """Gaussian noise of ``sigma`` grey levels, independent by pixel and channel, then clipped."""
    rng = np.random.default_rng((seed, zlib.crc32(image.tobytes())))
    drawn = rng.standard_normal(image.shape, dtype=np.float32)
    return _to_uint8(image + np.float32(sigma) * drawn)


def rescale(image: ImageArray, share: float) -> ImageArray:
    """Both sides shrunk to ``share``, antialiased, and back; bilinear both times."""
    height, width = image.shape[:2]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    method = Image.Resampling.BILINEAR
    shrunk = Image.fromarray(image).resize(small, method)
    return np.array(shrunk.resize((width, height), method), dtype=np.uint8)


def _through_file(image: ImageArray, kind: str, **settings: int | str) -> ImageArray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **settings)
    with Image.open(buffer) as encoded:
        return np.array(encoded.convert("RGB"), dtype=np.uint8)


def _to_uint8(values: np.ndarray) -> ImageArray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
