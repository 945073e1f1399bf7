"""Moving faces: mirrors, similarities by landmarks, and piecewise affine warps of triangles.

Pixel centres lie at whole numbers; points are x, y (column, row).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError

from clad.synthesis.base import FacePhoto, ImageArray, MaskArray, Points
from clad.synthesis.pixels import sample_at

Coordinates = NDArray[np.float32]

_MIN_DOUBLE_AREA = 1e-3
"""Triangles of less than this (in square pixels) have no inverse worth having."""


def _mirror_order() -> NDArray[np.int64]:
    """Which landmark takes the place of each when the face is mirrored."""
    order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    order += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order += [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
    return np.array(order)


MIRROR_ORDER = _mirror_order()


def mirrored(face: FacePhoto) -> FacePhoto:
    """The face seen in a mirror; its landmarks keep their meaning."""
    landmarks = face.landmarks[MIRROR_ORDER].copy()
    landmarks[:, 0] = face.image.shape[1] - 1 - landmarks[:, 0]
    return replace(face, image=np.ascontiguousarray(face.image[:, ::-1]), landmarks=landmarks)


def jitter_matrix(
    size: tuple[int, int],
    shift: tuple[float, float],
    zoom: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """2 x 3 matrix of a random small move about the middle of the image.

    Args:
        size: (height, width).
        shift: Largest move along x and y, as shares of width and height.
        zoom: Smallest factor, in (0, 1]; the largest is its inverse. Drawn for x and y apart.
        rng: Source of all randomness.
    """
    height, width = size
    factors = rng.uniform(zoom, 1 / zoom, 2)
    move = rng.uniform(-1, 1, 2) * (shift[0] * width, shift[1] * height)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([np.diag(factors), centre - factors * centre + move])


def similarity(source: Points, target: Points) -> NDArray[np.float64] | None:
    """2 x 3 matrix of turn, zoom and shift that takes ``source`` nearest to ``target``.

    Least squares; None if the source points coincide or the fit has no extent.

    Args:
        source: (N, 2) x, y.
        target: (N, 2) x, y.

    Source: Umeyama, IEEE TPAMI 13(4), 1991, in the plane, without mirrors.
    """
    first = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    second = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    start, end = first.mean(), second.mean()
    spread = float(np.square(np.abs(first - start)).sum())
    if spread == 0:
        return None
    turn = np.vdot(first - start, second - end) / spread
    if abs(turn) < np.finfo(np.float32).eps:
        return None
    shift = end - turn * start
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def similarity_map(
    matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[Coordinates, Coordinates]:
    """Where each pixel of the result is read: columns and rows, each (H, W) float32.

    Args:
        matrix: 2 x 3, takes places in the source to places in the result.
        size: (height, width) of the result.
    """
    back = cv2.invertAffineTransform(matrix)
    rows, columns = np.indices(size, dtype=np.float64)
    return (
        (back[0, 0] * columns + back[0, 1] * rows + back[0, 2]).astype(np.float32),
        (back[1, 0] * columns + back[1, 1] * rows + back[1, 2]).astype(np.float32),
    )


def piecewise_affine(
    target: Points, source: Points, size: tuple[int, int]
) -> tuple[Coordinates, Coordinates, MaskArray] | None:
    """Where each pixel of the result is read when triangles of points are stretched.

    Args:
        target: (N, 2) x, y of points in the result; their Delaunay triangles are used.
        source: (N, 2) x, y of the same points where they are read.
        size: (height, width) of the result.

    Returns:
        Columns and rows to read, each (H, W) float32, and (H, W) bool where a triangle lies; None
        if the target points lie on one line.
    """
    try:
        triangles = Delaunay(target.astype(np.float64)).simplices
    except QhullError:
        return None
    corners = np.concatenate([target[triangles], np.ones((len(triangles), 3, 1))], axis=2)
    is_sound = np.abs(np.linalg.det(corners)) > _MIN_DOUBLE_AREA
    triangles, corners = triangles[is_sound], corners[is_sound]
    columns, rows = np.zeros(size, np.float32), np.zeros(size, np.float32)
    owner = np.zeros(size, np.int32)
    for number, triangle in enumerate(triangles, 1):
        cv2.fillConvexPoly(owner, np.rint(target[triangle]).astype(np.int32), number)
    places = np.nonzero(owner)
    if len(triangles):
        # x' = a x + b y + c for each triangle: (T, 3 of the plane, 2 of x' and y').
        planes = np.linalg.solve(corners, source[triangles].astype(np.float64))
        plane = planes[owner[places] - 1]
        here = np.stack([places[1], places[0], np.ones(len(places[0]))], axis=1)
        read = np.einsum("nk,nkc->nc", here, plane)
        columns[places], rows[places] = read[:, 0], read[:, 1]
    return columns, rows, owner > 0


def read_face(
    image: ImageArray, columns: Coordinates, rows: Coordinates
) -> tuple[ImageArray, MaskArray]:
    """The image read at the given places, and (H, W) bool where these lie inside of it."""
    height, width = image.shape[:2]
    inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    return sample_at(image, rows, columns), inside
