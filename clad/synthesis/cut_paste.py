"""CutPaste: a patch or a thin scar of the image, pasted where it does not belong."""

from __future__ import annotations

from typing import Literal

import numpy as np

from clad.checks import expect_choice
from clad.synthesis.base import ImageArray, MaskArray
from clad.synthesis.foreground import ForegroundMode
from clad.synthesis.local import (
    LocalSynthesizer,
    expect_interval,
    log_uniform,
    pick_centre,
)
from clad.synthesis.noise import blob_distance
from clad.synthesis.pixels import fill_polygon, is_grey, tone_curve, turn_matrix, warp

Variant = Literal["patch", "scar", "any"]
Outline = Literal["rectangle", "blob", "any"]
SCAR_WIDTH = (0.008, 0.06)
SCAR_LENGTH = (0.04, 0.25)


class CutPaste(LocalSynthesizer):
    """A piece of the same image at another place, with jittered brightness and colour.

    Args:
        variant: ``patch`` (large), ``scar`` (long, thin, rotated) or ``any`` of both.
        outline: Outline of patches: ``rectangle`` as in the paper, ``blob``, or ``any`` of both.
        area: Smallest and largest share of the image that a patch covers.
        jitter: Largest change of contrast and of brightness, as shares; 0 pastes pixels as they
            are.
        rotation: Largest turn of the content in degrees, either way; 0 moves it only.
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.

    Source: CutPaste (Li et al., CVPR 2021, arXiv:2104.04015), section 2.2 and appendix A.
    """

    def __init__(
        self,
        variant: Variant = "any",
        outline: Outline = "any",
        area: tuple[float, float] = (0.004, 0.12),
        jitter: float = 0.15,
        rotation: float = 45.0,
        foreground: ForegroundMode = "auto",
    ) -> None:
        super().__init__(foreground)
        expect_choice("variant", variant, ("patch", "scar", "any"))
        expect_choice("outline", outline, ("rectangle", "blob", "any"))
        expect_interval("area", area, 1e-4, 0.5)
        expect_interval("jitter", (0.0, jitter), 0.0, 1.0)
        expect_interval("rotation", (0.0, rotation), 0.0, 180.0)
        self.variant, self.outline = variant, outline
        self.area, self.jitter, self.rotation = area, jitter, rotation

    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """A moved piece of the image; see ``LocalSynthesizer``."""
        shape = image.shape[:2]
        is_scar = self.variant == "scar" or (self.variant == "any" and rng.random() < 0.5)
        if is_scar:
            sides = np.array([log_uniform(rng, SCAR_LENGTH), log_uniform(rng, SCAR_WIDTH)])
            sides = np.maximum(sides * min(shape), 2.0)
        else:
            aspect = np.sqrt(log_uniform(rng, (0.3, 3.3)))
            side = np.sqrt(log_uniform(rng, self.area) * shape[0] * shape[1])
            sides = np.minimum(np.array([side * aspect, side / aspect]), 0.6 * np.array(shape))
        angle = float(rng.uniform(-self.rotation, self.rotation))
        centre = pick_centre(shape, target, rng)
        source = _other_place(shape, centre, float(np.hypot(*sides)) / 2, rng)
        moved = move(image, source, centre, angle)
        is_blob = self.outline == "blob" or (self.outline == "any" and rng.random() < 0.5)
        if is_blob and not is_scar:
            region = blob_distance(shape, centre, (sides[0] / 2, sides[1] / 2), rng) < 1
        else:
            region = _rectangle(shape, centre, sides, angle)
        return self._jittered(moved, rng), region

    def _jittered(self, image: ImageArray, rng: np.random.Generator) -> ImageArray:
        if self.jitter == 0:
            return image
        gain = 1 + rng.uniform(-self.jitter, self.jitter)
        shift = 255 * rng.uniform(-self.jitter, self.jitter)
        tint = np.zeros(3) if is_grey(image) else rng.normal(0, self.jitter * 40, 3)
        return tone_curve(image, np.arange(256)[:, None] * gain + shift + tint)


def move(
    image: ImageArray, source: tuple[int, int], centre: tuple[int, int], angle: float
) -> ImageArray:
    """Image turned by ``angle`` degrees about ``source`` and shifted so that it lies on ``centre``.

    With angle 0 every pixel is an exact copy. Beyond the frame the image is mirrored.
    """
    matrix = turn_matrix(source, angle)
    matrix[:, 2] += (centre[1] - source[1], centre[0] - source[0])
    return warp(image, matrix, exact=angle == 0)


def _other_place(
    shape: tuple[int, int], centre: tuple[int, int], reach: float, rng: np.random.Generator
) -> tuple[int, int]:
    """A centre at least ``reach`` from the edges where it can be, and not too near ``centre``."""
    low = [min(int(reach) + 1, side // 2) for side in shape]
    place = centre
    for _ in range(4):
        place = (
            int(rng.integers(low[0], max(shape[0] - low[0], low[0] + 1))),
            int(rng.integers(low[1], max(shape[1] - low[1], low[1] + 1))),
        )
        if np.hypot(place[0] - centre[0], place[1] - centre[1]) > reach / 2:
            break
    return place


def _rectangle(
    shape: tuple[int, int], centre: tuple[int, int], sides: np.ndarray, angle: float
) -> MaskArray:
    """Rotated rectangle of (height, width) ``sides`` around ``centre``."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * sides / 2
    turned = corners @ np.array([[cosine, sine], [-sine, cosine]])
    return fill_polygon(shape, turned + centre)
