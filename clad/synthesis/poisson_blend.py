"""NSA-style anomalies: a patch of the image moved, resized and blended in without a seam."""

from __future__ import annotations

import numpy as np

from clad.synthesis.base import ImageArray, MaskArray
from clad.synthesis.foreground import ForegroundMode
from clad.synthesis.gradients import FloatArray, solve_poisson
from clad.synthesis.local import LocalSynthesizer, expect_interval, log_uniform, pick_centre
from clad.synthesis.noise import blob_distance
from clad.synthesis.pixels import flip, resize

MIN_SIDE_PX = 6


class PoissonBlend(LocalSynthesizer):
    """Another part of the image, resized, whose gradients replace those of a patch.

    The mask holds the pixels that really changed, so a patch that fits its surroundings is marked
    only where it differs. Differs from the paper: the patch comes from the same image.

    Args:
        size: Smallest and largest side of the patch as shares of the shorter side of the image.
        scale: Smallest and largest factor by which the source is resized.
        mixed: Chance to keep, at each pixel, the stronger of both gradients (target texture shows
            through) instead of the source's.
        rough_outline: Chance that the patch has the outline of a blob instead of a rectangle.
        foreground: ``auto`` places anomalies on the object if the background is plain; ``whole``
            takes the whole image.

    Source: NSA (Schlüter et al., ECCV 2022, arXiv:2109.15222), section 3; Pérez et al., 2003.
    """

    def __init__(
        self,
        size: tuple[float, float] = (0.08, 0.45),
        scale: tuple[float, float] = (0.7, 1.4),
        mixed: float = 0.4,
        rough_outline: float = 0.5,
        foreground: ForegroundMode = "auto",
    ) -> None:
        super().__init__(foreground)
        expect_interval("size", size, 0.02, 0.9)
        expect_interval("scale", scale, 0.2, 5.0)
        expect_interval("mixed", (0.0, mixed), 0.0, 1.0)
        expect_interval("rough_outline", (0.0, rough_outline), 0.0, 1.0)
        self.size, self.scale = size, scale
        self.mixed, self.rough_outline = mixed, rough_outline

    def propose(
        self, image: ImageArray, target: MaskArray | None, rng: np.random.Generator
    ) -> tuple[ImageArray, MaskArray]:
        """A blended patch; see ``LocalSynthesizer``."""
        shape = image.shape[:2]
        sides = [
            int(np.clip(log_uniform(rng, self.size) * min(shape), MIN_SIDE_PX, side - 2))
            for side in shape
        ]
        top, left = _corner_near(shape, sides, pick_centre(shape, target, rng))
        source = _resized_part(image, sides, log_uniform(rng, self.scale), rng)
        outline = np.ones(sides, bool)
        if rng.random() < self.rough_outline:
            middle = (sides[0] / 2, sides[1] / 2)
            radii = (sides[0] * 0.42, sides[1] * 0.42)
            outline = blob_distance((sides[0], sides[1]), middle, radii, rng, 0.4) < 1
        window = np.s_[top : top + sides[0], left : left + sides[1]]
        patch = poisson_paste(image[window], source, outline, rng.random() < self.mixed)
        changed = image.copy()
        changed[window] = np.clip(np.rint(patch), 0, 255).astype(np.uint8)
        region = np.zeros(shape, bool)
        region[window] = True
        return changed, region


def poisson_paste(
    target: ImageArray, source: ImageArray, outline: MaskArray, mixed: bool
) -> FloatArray:
    """``target`` with the gradients of ``source`` inside the outline; its border stays.

    Args:
        target: (h, w, 3) uint8, h and w >= 3.
        source: (h, w, 3), likewise.
        outline: (h, w) bool; outside it the target's own gradients are kept.
        mixed: Whether to take the stronger gradient of both inside the outline.

    Returns:
        (h, w, 3) float32, not clipped.
    """
    border = target.astype(np.float32)
    fields = []
    for axis in (1, 0):
        own, foreign = np.diff(border, axis=axis), np.diff(source.astype(np.float32), axis=axis)
        inside = outline[:, 1:] & outline[:, :-1] if axis == 1 else outline[1:] & outline[:-1]
        use = inside[..., None]
        if mixed:
            use = use & (np.abs(foreign) > np.abs(own))
        fields.append(np.where(use, foreign, own))
    return solve_poisson(border, fields[0], fields[1])


def _corner_near(
    shape: tuple[int, int], sides: list[int], centre: tuple[int, int]
) -> tuple[int, int]:
    """(top, left) of a window of the given sides around ``centre``, moved into the frame."""
    top, left = (
        int(np.clip(middle - length // 2, 0, side - length))
        for middle, length, side in zip(centre, sides, shape, strict=True)
    )
    return top, left


def _resized_part(
    image: ImageArray, sides: list[int], scale: float, rng: np.random.Generator
) -> ImageArray:
    """A random part of the image, resized by ``scale`` to the given sides, mirrored at times."""
    cut = [
        int(np.clip(length / scale, 3, side))
        for length, side in zip(sides, image.shape, strict=False)
    ]
    top = int(rng.integers(image.shape[0] - cut[0] + 1))
    left = int(rng.integers(image.shape[1] - cut[1] + 1))
    part = image[top : top + cut[0], left : left + cut[1]]
    if rng.random() < 0.5:
        part = flip(part, rng)
    return resize(part, (sides[0], sides[1]))
