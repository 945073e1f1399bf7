"""Regions of a face from its 68 landmarks: hulls, unions of parts, and the forehead above them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import cv2
import numpy as np

from clad.checks import expect_choice
from clad.synthesis.base import MaskArray, Points

NUM_LANDMARKS = 68
RegionKind = Literal["hull", "forehead", "full", "components", "extended"]
PartKind = Literal["eyes", "mouth", "nose"]

_JAW, _BROWS = range(17), range(17, 27)
_NOSE, _MOUTH = range(27, 36), range(48, 68)
_NOSE_TOP, _NOSE_BASE, _CHIN = 27, 33, 8

# Unions of convex hulls: which landmarks span each.
_FULL: tuple[tuple[int, ...], ...] = (
    (*_JAW, *_MOUTH),
    (27, 28, 29, 30, _NOSE_BASE),
    (*_BROWS, 0, 16, _NOSE_TOP, _NOSE_BASE),
)
_COMPONENTS: tuple[tuple[int, ...], ...] = (
    (*range(9), 17),
    (*range(8, 17), 26),
    (17, 18, 19, _CHIN),
    (24, 25, 26, _CHIN),
    (*range(19, 25), _CHIN),
    (*range(17, 22), _NOSE_TOP, *range(31, 36), _CHIN),
    (*range(22, 27), _NOSE_TOP, *range(31, 36), _CHIN),
    (*_NOSE,),
)
_PARTS: dict[str, tuple[tuple[int, ...], ...]] = {
    "eyes": ((*range(17, 22), *range(36, 42)), (*range(22, 27), *range(42, 48))),
    "mouth": ((*range(48, 60),),),
    "nose": ((*_NOSE,),),
}

FOREHEAD_SIDE, FOREHEAD_MIDDLE = 0.4, 0.8
"""How far the hairline lies above the brows, in distances from the base of the nose to the brows
(which the canon of thirds makes equal to the whole forehead): at the temples, and in the middle."""

_FARTHEST_PX = 2**14
"""Corners beyond are drawn here; OpenCV's drawing overflows further out."""
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def expect_landmarks(landmarks: Points) -> None:
    """Refuse anything but (68, 2) finite numbers.

    Raises:
        ValueError: With the shape given, or how many are not finite.
    """
    if np.shape(landmarks) != (NUM_LANDMARKS, 2):
        raise ValueError(
            f"expected landmarks of shape ({NUM_LANDMARKS}, 2), got {np.shape(landmarks)}; "
            "use a landmark detector of the 68-point scheme"
        )
    num_wrong = int((~np.isfinite(landmarks)).any(axis=1).sum())
    if num_wrong:
        raise ValueError(
            f"expected finite landmarks, got {num_wrong} of {NUM_LANDMARKS} that are not; "
            "correct the table of landmarks"
        )


def forehead(landmarks: Points) -> Points:
    """(10, 2) points of the hairline, from the left to the right of the image.

    The brows are lifted along the direction from the base of the nose to them. They stand in for
    the 13 forehead points of the 81-point scheme, which the 68 points lack.
    """
    brows = landmarks[list(_BROWS)]
    up = brows.mean(axis=0) - landmarks[_NOSE_BASE]
    arc = np.sin(np.linspace(0, np.pi, len(brows)))[:, None]
    return np.asarray(brows + (FOREHEAD_SIDE + (FOREHEAD_MIDDLE - FOREHEAD_SIDE) * arc) * up)


def with_forehead(landmarks: Points) -> Points:
    """(78, 2): the 68 landmarks, then the forehead."""
    return np.concatenate([landmarks, forehead(landmarks)])


def face_box(landmarks: Points) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the face with its forehead, in pixels."""
    points = with_forehead(landmarks)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def face_region(landmarks: Points, kind: RegionKind, size: tuple[int, int]) -> MaskArray:
    """(H, W) bool region of a face; empty where it lies outside the image.

    Args:
        landmarks: (68, 2) x, y in pixels; some may lie outside.
        kind: ``hull`` of the 68 points; ``forehead``, the hull up to the hairline; ``full``, the
            union of jaw and mouth, bridge of the nose, brows and eyes; ``components``, the union of
            cheeks, eyes and nose; ``extended``, the same up to the hairline.
        size: (height, width).

    Raises:
        ValueError: If ``kind`` is unknown.

    Source: ``full`` (there ``dfl_full``), ``components`` and ``extended`` after the masks that
    Face X-ray's authors use (AlgoHunt/Face-Xray, DeepFakeMask.py); their forehead is another
    formula.
    """
    expect_choice("region", kind, ("hull", "forehead", "full", "components", "extended"))
    if kind == "hull":
        return fill_hulls([landmarks], size)
    if kind == "forehead":
        return fill_hulls([with_forehead(landmarks)], size)
    points, groups = landmarks, _FULL if kind == "full" else _COMPONENTS
    if kind == "extended":
        points = landmarks.copy()
        points[list(_BROWS)] = forehead(landmarks)
    return fill_hulls([points[list(group)] for group in groups], size)


def part_landmarks(part: PartKind) -> list[int]:
    """Numbers of the landmarks that span a part.

    Raises:
        ValueError: If the part is unknown.
    """
    expect_choice("part", part, _PARTS)
    return sorted({index for group in _PARTS[part] for index in group})


def part_region(
    landmarks: Points, part: PartKind, size: tuple[int, int], margin: float
) -> MaskArray:
    """(H, W) bool region of eyes with brows, mouth or nose; empty where it lies outside.

    Args:
        landmarks: (68, 2) x, y in pixels.
        part: Which.
        size: (height, width).
        margin: By how much the hull is widened, as a share of the distance between the outer
            corners of the eyes.

    Raises:
        ValueError: If the part is unknown.
    """
    expect_choice("part", part, _PARTS)
    region = fill_hulls([landmarks[list(group)] for group in _PARTS[part]], size)
    reach = round(margin * float(np.linalg.norm(landmarks[45] - landmarks[36])))
    reach = min(reach, max(size))
    if reach < 1:
        return region
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(region.astype(np.uint8), kernel).astype(bool)


def fill_hulls(hulls: Iterable[Points], size: tuple[int, int]) -> MaskArray:
    """(H, W) bool union of convex hulls of points x, y; outlines count as inside."""
    canvas = np.zeros(size, np.uint8)
    for points in hulls:
        corners = np.rint(np.clip(points, -_FARTHEST_PX, _FARTHEST_PX)).astype(np.int32)
        cv2.fillConvexPoly(canvas, cv2.convexHull(corners), 1)
    return canvas.astype(bool)


def shrunk(region: MaskArray, pixels: int = 1) -> MaskArray:
    """The region without its outermost pixels; the edge of the image takes none away."""
    return cv2.erode(region.astype(np.uint8), _CROSS, iterations=pixels).astype(bool)


def draw_one(choices: Sequence[str], rng: np.random.Generator) -> str:
    """One of the names, each entry equally likely."""
    return choices[int(rng.integers(len(choices)))]


def expect_choices(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse an empty list, or a name that is not known.

    Raises:
        ValueError: With the known names.
    """
    if not given:
        raise ValueError(f"expected at least one of {', '.join(known)} in {name}, got none")
    for each in given:
        expect_choice(name, each, known)
