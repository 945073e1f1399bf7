"""Faces -> square crops, and maps of crops back into the frame.

Coordinates are x, y with pixel centres at whole numbers. Pixels beyond the border of the frame
repeat its edge: a crop is always full, and no black bar tells how close to the border a face was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from clad.checks import expect_range
from clad.faces.base import DetectedFace, ImageArray

Points = NDArray[np.float32]
Matrix = NDArray[np.float64]
"""(2, 3): x, y of the frame -> x, y of the crop."""

MARGIN = 1.3
"""Side of the crop as a multiple of the longer side of the box, as in most deepfake papers."""

# x, y of left eye, right eye, nose, left and right corner of the mouth in a crop of 112 x 112: the
# mean face that ArcFace aligns to (Deng et al., CVPR 2019).
_MEAN_FACE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
_MEAN_FACE_PX = 112
# Of the 68-point scheme: what is averaged for each of the five.
_FIVE_OF_68 = (range(36, 42), range(42, 48), (30,), (48,), (54,))


@dataclass(frozen=True)
class FaceCrop:
    """A square of a frame, brought to one size.

    Args:
        image: (size, size, 3) uint8 RGB.
        matrix: (2, 3) float64, x, y of the frame -> x, y of the crop.
    """

    image: ImageArray
    matrix: Matrix

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.image.shape[0]

    def points(self, points: Points) -> Points:
        """(N, 2) float32: where points of the frame lie in the crop."""
        moved = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.asarray(moved, dtype=np.float32)


def square_around(
    box: tuple[float, float, float, float], margin: float = MARGIN
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the square about the centre of a box, in whole pixels.

    Args:
        box: (top, left, bottom, right).
        margin: Side as a multiple of the longer side of the box, > 0.
    """
    top, left, bottom, right = box
    side = max(1, round(max(bottom - top, right - left) * margin))
    first_row = math.floor((top + bottom - side + 1) / 2)
    first_column = math.floor((left + right - side + 1) / 2)
    return first_row, first_column, first_row + side, first_column + side


def crop_box(
    image: ImageArray, box: tuple[float, float, float, float], size: int, margin: float = MARGIN
) -> FaceCrop:
    """The square around a box: cut in whole pixels, then resized (bilinear, antialiased).

    Args:
        image: (H, W, 3) uint8.
        box: (top, left, bottom, right), also beyond the image.
        size: Side of the crop, at least 1.
        margin: As in ``square_around``, in [0.1, 10].
    """
    expect_range("margin", margin, 0.1, 10)
    top, left, bottom, right = square_around(box, margin)
    height, width = image.shape[:2]
    rows = np.clip(np.arange(top, bottom), 0, height - 1)
    columns = np.clip(np.arange(left, right), 0, width - 1)
    return FaceCrop(
        _resized(image[rows][:, columns], size), _scaling(top, left, bottom, right, size)
    )


def whole_frame(image: ImageArray, size: int) -> FaceCrop:
    """The whole frame as a crop, where no face was found; its shape is not kept.

    Args:
        image: (H, W, 3) uint8.
        size: Side of the crop.
    """
    height, width = image.shape[:2]
    return FaceCrop(_resized(image, size), _scaling(0, 0, height, width, size))


def crop_aligned(
    image: ImageArray, landmarks: Points, size: int, margin: float = MARGIN
) -> FaceCrop:
    """The face turned upright and brought to the place of the mean face.

    Rotation, scale and shift (a similarity, no shear) that bring the landmarks closest to those of
    the mean face of ArcFace, which is then made smaller about the centre by ``margin``.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (2, 2) x, y of the eyes, (5, 2) or (68, 2), as in ``DetectedFace``.
        size: Side of the crop.
        margin: 1 is the crop of face recognition, in [0.1, 10].

    Raises:
        ValueError: If there is another number of landmarks, or they all lie in one place.
    """
    expect_range("margin", margin, 0.1, 10)
    points = five_points(landmarks)
    template = (_MEAN_FACE[: len(points)] + 0.5) / _MEAN_FACE_PX
    target = ((template - 0.5) / margin + 0.5) * size - 0.5
    matrix = similarity(points.astype(np.float64), target)
    # Shrinking: drawn several times too large first, so that the resize can average.
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    times = max(1, int(np.ceil(1 / scale)))
    large = np.array([[times, 0, (times - 1) / 2], [0, times, (times - 1) / 2]])
    drawn = cv2.warpAffine(
        image,
        large @ np.vstack((matrix, (0, 0, 1))),
        (size * times, size * times),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return FaceCrop(_resized(np.asarray(drawn, dtype=np.uint8), size), matrix)


def crop_face(
    image: ImageArray,
    face: DetectedFace | None,
    size: int,
    margin: float = MARGIN,
    align: bool = False,
) -> FaceCrop:
    """The crop of a face, or the whole frame where there is none.

    Args:
        image: (H, W, 3) uint8.
        face: What was detected.
        size: Side of the crop.
        margin: See ``crop_box`` and ``crop_aligned``.
        align: Whether the face is turned upright.

    Raises:
        ValueError: If it shall be aligned and has no landmarks.
    """
    if face is None:
        return whole_frame(image, size)
    if not align:
        return crop_box(image, face.box, size, margin)
    if face.landmarks is None:
        raise ValueError(
            "expected landmarks to align faces by, got boxes alone; use a detector that finds "
            "some (configs/faces/mtcnn.yaml), or do without alignment"
        )
    return crop_aligned(image, face.landmarks, size, margin)


def five_points(landmarks: Points) -> Points:
    """(5, 2) eyes, nose and corners of the mouth of (5, 2) or (68, 2); (2, 2) eyes stay two.

    Raises:
        ValueError: If there is another number of them.
    """
    if landmarks.shape in ((2, 2), (5, 2)):
        return landmarks
    if landmarks.shape != (68, 2):
        raise ValueError(
            f"expected landmarks of shape (2, 2), (5, 2) or (68, 2), got {landmarks.shape}"
        )
    return np.stack([landmarks[list(rows)].mean(axis=0) for rows in _FIVE_OF_68])


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    """(2, 3) rotation, scale and shift that bring points closest to others, by least squares.

    Points as complex numbers a, b about their means: the factor is sum(conj(a) b) / sum(|a|^2).

    Args:
        source: (N, 2) x, y, at least two different ones.
        target: (N, 2).

    Raises:
        ValueError: If all source points lie in one place.

    Source: Umeyama, IEEE PAMI 1991, without its reflection.
    """
    a = (source - source.mean(axis=0)) @ (1, 1j)
    b = (target - target.mean(axis=0)) @ (1, 1j)
    spread = float((np.abs(a) ** 2).sum())
    factor = (a.conj() * b).sum() / spread if spread > 0 else 0j
    if not abs(factor) > 0:
        raise ValueError(
            "expected landmarks in different places to align a face by, got all in one place; "
            "check the detector"
        )
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    shift = target.mean(axis=0) - turn @ source.mean(axis=0)
    return np.concatenate((turn, shift[:, None]), axis=1)


def crop_mask(mask: NDArray[np.bool_], crop: FaceCrop) -> NDArray[np.bool_]:
    """(size, size) bool: the part of a frame's mask that a crop shows, by nearest pixel.

    Args:
        mask: (H, W) bool.
        crop: Made of the frame.
    """
    columns, rows = _frame_points(crop.matrix, crop.size)
    height, width = mask.shape
    rows = np.clip(np.rint(rows), 0, height - 1).astype(int)
    columns = np.clip(np.rint(columns), 0, width - 1).astype(int)
    return np.asarray(mask[rows, columns])


def paste_map(
    maps: Sequence[NDArray[np.float32]],
    matrices: Sequence[Matrix],
    crop_size: int,
    frame_size: tuple[int, int],
) -> NDArray[np.float32]:
    """(H, W) float32 of the frame: the largest value of the crops there, NaN where there is none.

    Args:
        maps: (h, w) float per crop, of any size; bilinear between their pixels.
        matrices: ``FaceCrop.matrix`` of each.
        crop_size: Side of the crops in pixels, which the matrices lead to.
        frame_size: (height, width).
    """
    height, width = frame_size
    pasted = np.full((height, width), np.nan, dtype=np.float32)
    corners = np.array([(x, y) for x in (-0.5, crop_size - 0.5) for y in (-0.5, crop_size - 0.5)])
    for values, matrix in zip(maps, matrices, strict=True):
        outline = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        left, top = np.clip(np.floor(outline.min(axis=0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, (width, height)).astype(int)
        y, x = np.mgrid[top:bottom, left:right]
        u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
        v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
        inside = (np.minimum(u, v) >= -0.5) & (np.maximum(u, v) < crop_size - 0.5)
        rows = (v + 0.5) * values.shape[0] / crop_size - 0.5
        columns = (u + 0.5) * values.shape[1] / crop_size - 0.5
        sampled = ndimage.map_coordinates(values, (rows, columns), order=1, mode="nearest")
        place = pasted[top:bottom, left:right]
        np.fmax(place, np.where(inside, sampled, np.nan), out=place)
    return pasted


def _scaling(top: int, left: int, bottom: int, right: int, size: int) -> Matrix:
    """Of a rectangle that becomes a square; borders of pixels meet, not their centres."""
    across, down = size / (right - left), size / (bottom - top)
    return np.array([[across, 0, (0.5 - left) * across - 0.5], [0, down, (0.5 - top) * down - 0.5]])


def _resized(image: ImageArray, size: int) -> ImageArray:
    if image.shape[:2] == (size, size):
        return image
    made = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(made, dtype=np.uint8)


def _frame_points(matrix: Matrix, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows in the frame of every pixel of the crop, (size, size) each."""
    v, u = np.mgrid[:size, :size].astype(np.float64)
    back = np.linalg.inv(matrix[:, :2])
    u, v = u - matrix[0, 2], v - matrix[1, 2]
    return back[0, 0] * u + back[0, 1] * v, back[1, 0] * u + back[1, 1] * v
