"""SBI: a face blended with a slightly changed copy of itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import cv2
import numpy as np

from clad.checks import expect_range
from clad.synthesis.base import Donors, FacePhoto, Forgery, ImageArray, Points
from clad.synthesis.face_blend import Blend
from clad.synthesis.face_colour import (
    Change,
    adjust_contrast,
    chain,
    coarsen,
    compress,
    sharpen,
    shift_channels,
    shift_hsv,
)
from clad.synthesis.face_forger import FaceForger
from clad.synthesis.face_masks import blurred_twice, elastic_offsets, moved
from clad.synthesis.face_parts import blend_parts
from clad.synthesis.face_regions import (
    RegionKind,
    draw_one,
    expect_choices,
    face_box,
    face_region,
)
from clad.synthesis.face_warp import jitter_matrix, mirrored
from clad.synthesis.local import MIN_SIDE_PX, expect_interval
from clad.synthesis.pixels import warp

_PARTS = "parts"
REGIONS = ("hull", "forehead", "full", "components", "extended", _PARTS)

# Numbers of the authors' code; see the docstring of the class.
RGB_SHIFT, RGB_SHIFT_PROBABILITY = 20.0, 0.3
HSV_SHIFT, HSV_PROBABILITY_AFTER = 0.3, 0.3
CONTRAST, CONTRAST_AFTER, CONTRAST_PROBABILITY_AFTER = 0.1, 0.3, 0.3
SHRINK_FACTORS = (2, 4)
SHARPEN_STRENGTH, SHARPEN_LIGHTNESS = (0.2, 0.5), (0.5, 1.0)
SHIFT, ZOOM = (0.03, 0.015), 0.95
ELASTIC_ALPHA, ELASTIC_SIGMA = 50.0, 7.0
WORK_SIDES = (192, 256)
KERNELS = tuple(range(5, 26, 2))
SIGMAS = (5, 45)
CROP_UNIT = 0.25
"""Margins of the crop are shares of this share of the face's width and height."""


class SelfBlended(FaceForger):
    """Source and target are the same photo; one of them gets other colours or another sharpness.

    The source is also moved by a few percent, and its region is warped, eroded and softened, so
    that a blending boundary arises. Real and forged image then get the same photometric change,
    compression and crop. Where the target is the one whose colours change, the real image is the
    changed one, too: the change itself must not tell them apart. A bare generator changes the
    source only.

    Differs from the authors' code: images are crops of faces already, so its first crop is left
    out; a raised hull stands in for the 81-point one; the erosion is that of the paper (the code
    erodes only where masks come from the Face X-ray library); edges are mirrored, not black.

    Args:
        regions: Kinds of regions, drawn evenly; a name given twice is drawn twice as often.
            ``parts``, which the paper does not have, blends one or two of eyes, mouth and nose,
            turned and moved a little, in place of steps 4 to 6, whose softening would leave
            nothing of them.
        transform_source: Chance that the source's colours are changed, instead of the target's.
        ratios: Largest blending weight, drawn evenly.
        jpeg_probability: Chance that both images are compressed.
        jpeg_quality: Lowest and highest quality.
        crop_margin: Smallest and largest margin around the face that is left by the last crop, in
            quarters of its width and height; the crop is resized back.
        flip_probability: Chance to mirror the photo.

    Source: Shiohara and Yamasaki, CVPR 2022, arXiv:2204.08376, section 3; numbers of the authors'
    code (mapooon/SelfBlendedImages, src/utils/sbi.py and blend.py).
    """

    def __init__(
        self,
        regions: tuple[RegionKind | Literal["parts"], ...] = (
            "forehead",
            "forehead",
            "forehead",
            "hull",
        ),
        transform_source: float = 0.5,
        ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0),
        jpeg_probability: float = 0.5,
        jpeg_quality: tuple[int, int] = (40, 100),
        crop_margin: tuple[float, float] = (0.2, 0.8),
        flip_probability: float = 0.5,
    ) -> None:
        expect_choices("regions", regions, REGIONS)
        expect_range("transform_source", transform_source, 0, 1)
        expect_range("jpeg_probability", jpeg_probability, 0, 1)
        expect_range("flip_probability", flip_probability, 0, 1)
        expect_interval("jpeg_quality", jpeg_quality, 1, 100)
        expect_interval("crop_margin", crop_margin, 0, 4)
        if not ratios:
            raise ValueError("expected at least one blending ratio in ratios, got none")
        for ratio in ratios:
            expect_range("ratios", ratio, 0.05, 1)
        self.regions, self.ratios = tuple(regions), tuple(ratios)
        self.transform_source = transform_source
        self.jpeg_probability, self.jpeg_quality = jpeg_probability, tuple(jpeg_quality)
        self.crop_margin, self.flip_probability = tuple(crop_margin), flip_probability

    def prepare(self, face: FacePhoto, rng: np.random.Generator) -> FacePhoto:
        """The photo, mirrored at times (step 1)."""
        return mirrored(face) if rng.random() < self.flip_probability else face

    def propose(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Blend | None:
        """Source and target of one photo with softened weights (steps 2 to 6)."""
        del donors
        size = face.image.shape[0], face.image.shape[1]
        kind = draw_one(self.regions, rng)
        source = target = face.image
        changed = draw_source_change(rng)(face.image)
        if rng.random() < self.transform_source or self.is_bare:
            source = changed
        else:
            target = changed
        if kind == _PARTS:
            return blend_parts(source, target, face.landmarks, rng)
        region = face_region(face.landmarks, kind, size)  # type: ignore[arg-type]
        matrix = jitter_matrix(size, SHIFT, ZOOM, rng)
        offsets = elastic_offsets(size, ELASTIC_ALPHA, ELASTIC_SIGMA, rng)
        weights = blurred_twice(
            moved(region, matrix, offsets),
            work_size=(_between(WORK_SIDES, rng), _between(WORK_SIDES, rng)),
            kernels=(_one_of(KERNELS, rng), _one_of(KERNELS, rng)),
            sigma=_between(SIGMAS, rng),
        )
        ratio = self.ratios[int(rng.integers(len(self.ratios)))]
        return Blend(target, warp(source, matrix), weights * np.float32(ratio))

    def finish(self, made: Forgery, face: FacePhoto, rng: np.random.Generator) -> Forgery:
        """Both images with the same change, compression and crop (steps 7 and 8)."""
        change = self._draw_change(rng)
        height, width = made.mask.shape
        top, left, bottom, right = crop_window(
            face.landmarks, (height, width), self.crop_margin, rng
        )
        part = np.s_[top:bottom, left:right]

        def cut(image: ImageArray) -> ImageArray:
            return np.asarray(cv2.resize(change(image)[part], (width, height)), np.uint8)

        shares = cv2.resize(made.mask[part].astype(np.float32), (width, height))
        return Forgery(cut(made.image), np.asarray(shares >= 0.5), cut(made.real))

    def _draw_change(self, rng: np.random.Generator) -> Change:
        """What both images get: colours, contrast, JPEG."""
        changes: list[Change] = []
        if rng.random() < RGB_SHIFT_PROBABILITY:
            changes.append(_draw_rgb_shift(rng))
        if rng.random() < HSV_PROBABILITY_AFTER:
            changes.append(_draw_hsv_shift(rng))
        if rng.random() < CONTRAST_PROBABILITY_AFTER:
            changes.append(_draw_contrast(CONTRAST_AFTER, rng))
        if rng.random() < self.jpeg_probability:
            low, high = self.jpeg_quality
            changes.append(partial(compress, quality=int(rng.integers(low, high + 1))))
        return chain(changes)


def draw_source_change(rng: np.random.Generator) -> Change:
    """Step 3: shifted colours (at times), HSV, contrast, and either coarser or sharper."""
    changes: list[Change] = []
    if rng.random() < RGB_SHIFT_PROBABILITY:
        changes.append(_draw_rgb_shift(rng))
    changes += [_draw_hsv_shift(rng), _draw_contrast(CONTRAST, rng)]
    if rng.random() < 0.5:
        changes.append(partial(coarsen, share=1 / _one_of(SHRINK_FACTORS, rng), nearest=True))
    else:
        strength, lightness = rng.uniform(*SHARPEN_STRENGTH), rng.uniform(*SHARPEN_LIGHTNESS)
        changes.append(partial(sharpen, strength=strength, lightness=lightness))
    return chain(changes)


def crop_window(
    landmarks: Points,
    size: tuple[int, int],
    margin: Sequence[float],
    rng: np.random.Generator,
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the face with a random margin on each side, in the image.

    Sides shorter than ``MIN_SIDE_PX`` or a quarter of the image, as of a face that lies outside,
    are the whole image's.
    """
    height, width = size
    left, top, right, bottom = face_box(landmarks)
    units = CROP_UNIT * np.array([right - left, bottom - top, right - left, bottom - top])
    spare = units * rng.uniform(margin[0], margin[1], 4)
    edges = np.rint([left, top, right + 1, bottom + 1] + spare * (-1, -1, 1, 1)).astype(int)
    columns = np.clip(edges[[0, 2]], 0, width)
    rows = np.clip(edges[[1, 3]], 0, height)
    if columns[1] - columns[0] < max(MIN_SIDE_PX, width // 4):
        columns = np.array([0, width])
    if rows[1] - rows[0] < max(MIN_SIDE_PX, height // 4):
        rows = np.array([0, height])
    return int(rows[0]), int(columns[0]), int(rows[1]), int(columns[1])


def _draw_rgb_shift(rng: np.random.Generator) -> Change:
    return partial(shift_channels, levels=rng.uniform(-RGB_SHIFT, RGB_SHIFT, 3))


def _draw_hsv_shift(rng: np.random.Generator) -> Change:
    hue, saturation, value = rng.uniform(-HSV_SHIFT, HSV_SHIFT, 3)
    return partial(shift_hsv, hue=hue, saturation=saturation, value=value)


def _draw_contrast(limit: float, rng: np.random.Generator) -> Change:
    brightness, contrast = rng.uniform(-limit, limit, 2)
    return partial(adjust_contrast, brightness=brightness, contrast=contrast)


def _between(ends: tuple[int, int], rng: np.random.Generator) -> int:
    """A whole number, both ends possible."""
    return int(rng.integers(ends[0], ends[1] + 1))


def _one_of(numbers: tuple[int, ...], rng: np.random.Generator) -> int:
    return numbers[int(rng.integers(len(numbers)))]
