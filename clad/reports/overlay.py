"""Heat maps over images on one fixed colour scale, with the outline of the true mask."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

ImageArray = NDArray[np.uint8]

# (position on the scale, red, green, blue, opacity). Cool below the threshold at 0.5, warm above:
# the jump there is wanted. Lightness falls on the warm side, so it reads without colour, too.
_RAMP = np.array(
    [
        (0.00, 60, 100, 160, 0.20),
        (0.30, 90, 140, 190, 0.14),
        (0.49, 140, 180, 210, 0.10),
        (0.51, 255, 214, 92, 0.42),
        (0.70, 247, 138, 42, 0.60),
        (0.85, 214, 52, 38, 0.72),
        (1.00, 128, 6, 52, 0.82),
    ]
)
_OUTLINE = (25, 235, 255)
_CASING = (8, 20, 28)
_LINE_PX = 2
_BACKGROUND_GREY = 190
_JPEG_QUALITY = 86
_STEPS, _GREYS = 2000, 256


def overlay(image: ImageArray, position: NDArray) -> ImageArray:
    """(H, W, 3) uint8: the image in grey under the colours of the map.

    Args:
        image: (H, W, 3) uint8 RGB.
        position: (H, W) float in [0, 1] on the colour scale; 0.5 is the threshold.
    """
    return overlay_on_grey(to_grey(image), position)


def to_grey(image: ImageArray) -> NDArray[np.uint8]:
    """(H, W) uint8: ITU-R 601 luminance of (H, W, 3) uint8 RGB."""
    return np.asarray(Image.fromarray(image).convert("L"))


def overlay_on_grey(grey: NDArray[np.uint8], position: NDArray) -> ImageArray:
    """``overlay`` on a grey picture, with positions rounded to one of 2,001 steps.

    Args:
        grey: (H, W) uint8.
        position: (H, W) float in [0, 1] on the colour scale.
    """
    step = (np.asarray(position, dtype=np.float32) * _STEPS + np.float32(0.5)).astype(np.int32)
    mixed = _mixed_colours().take(step * _GREYS + grey)
    return np.ascontiguousarray(mixed.view(np.uint8).reshape(*grey.shape, 4)[..., :3])


def outline(image: ImageArray, mask: NDArray[np.bool_]) -> ImageArray:
    """Copy of the image with a bright line just outside the mask, cased in dark.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
    """
    drawn = image.copy()
    around = np.ones((3, 3), dtype=bool)
    line = ndimage.binary_dilation(mask, around, iterations=_LINE_PX)
    casing = ndimage.binary_dilation(line, around)
    drawn[casing & ~line] = _CASING
    drawn[line & ~mask] = _OUTLINE
    return drawn


def jpeg_data_uri(image: ImageArray) -> str:
    """The image as a ``data:`` address, for a page that loads nothing from elsewhere."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0, optimize=True
    )
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def legend_gradient() -> str:
    """CSS gradient of the colour scale from low to high, as it looks over mid-grey."""
    colour, opacity = _colours(_RAMP[:, 0])
    mixed = np.round(_BACKGROUND_GREY * (1 - opacity) + colour * opacity).astype(int)
    stops = (
        f"rgb({red},{green},{blue}) {100 * position:.0f}%"
        for (red, green, blue), position in zip(mixed.tolist(), _RAMP[:, 0], strict=True)
    )
    return f"linear-gradient(90deg,{','.join(stops)})"


@cache
def _mixed_colours() -> NDArray[np.uint32]:
    """Red, green, blue and an unused byte of each step of the scale over each grey."""
    colour, opacity = _colours(np.linspace(0, 1, _STEPS + 1))
    grey = np.arange(_GREYS, dtype=np.float64)[None, :, None]
    mixed = grey * (1 - opacity[:, None]) + colour[:, None] * opacity[:, None]
    table = np.zeros((_STEPS + 1, _GREYS, 4), dtype=np.uint8)
    table[..., :3] = np.round(mixed)
    return table.view(np.uint32).reshape(-1)


def _colours(position: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(..., 3) colour and (..., 1) opacity at positions on the scale."""
    at = np.asarray(position, dtype=np.float64)
    channels = [np.interp(at, _RAMP[:, 0], _RAMP[:, column]) for column in range(1, 5)]
    return np.stack(channels[:3], axis=-1), channels[3][..., None]
