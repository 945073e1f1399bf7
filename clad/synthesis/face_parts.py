"""Small regions of a face for self-blending, and how far a part is moved out of place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from clad.synthesis.base import ImageArray, MaskArray, Points
from clad.synthesis.face_blend import Blend, seamless
from clad.synthesis.face_masks import feathered
from clad.synthesis.face_regions import PartKind, face_box, part_region

PARTS: tuple[PartKind, ...] = ("eyes", "mouth", "nose")
COUNT = (1, 2)
MARGIN = (0.0, 0.2)
"""By how much a part is widened, in distances between the outer corners of the eyes."""
TURN_DEGREES, ZOOM, SHIFT = 10.0, 0.88, 0.05
"""Largest turn; smallest factor; largest move as a share of the face's width."""
FEATHER = (0.05, 0.3)
POISSON_PROBABILITY = 0.5


def blend_parts(
    source: ImageArray, target: ImageArray, landmarks: Points, rng: np.random.Generator
) -> Blend | None:
    """One or two parts of the source, slightly out of place, in the target; None if none is inside.

    Half of them are blended without a seam, the others with a soft edge.

    Args:
        source: (H, W, 3) uint8, the face with other colours or another sharpness.
        target: (H, W, 3) uint8, the face.
        landmarks: (68, 2) x, y in pixels of both.
        rng: Source of all randomness.
    """
    height, width = target.shape[:2]
    region = np.zeros((height, width), dtype=bool)
    number = int(rng.integers(COUNT[0], COUNT[1] + 1))
    for index in rng.choice(len(PARTS), size=number, replace=False):
        margin = float(rng.uniform(*MARGIN))
        region |= part_region(landmarks, PARTS[index], (height, width), margin)
    if not region.any():
        return None
    matrix = part_matrix(region, landmarks, rng)
    moved = cv2.warpAffine(source, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    pasted = np.asarray(moved, np.uint8)
    if rng.random() < POISSON_PROBABILITY:
        return Blend(target, seamless(pasted, target, region), region.astype(np.float32))
    return Blend(target, pasted, feathered(region, float(rng.uniform(*FEATHER))))


def part_matrix(
    region: MaskArray, landmarks: Points, rng: np.random.Generator
) -> NDArray[np.float64]:
    """2 x 3 matrix that turns, zooms and moves what is in the region about its middle."""
    rows, columns = np.nonzero(region)
    centre = (float(columns.mean()), float(rows.mean()))
    angle = float(rng.uniform(-TURN_DEGREES, TURN_DEGREES))
    factor = float(rng.uniform(ZOOM, 1 / ZOOM))
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, angle, factor), np.float64)
    left, _, right, _ = face_box(landmarks)
    matrix[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * (right - left)
    return matrix
