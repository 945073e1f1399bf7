"""Warps against skimage, mirrors against a symmetric face."""

from __future__ import annotations

import numpy as np
from drawn_faces import drawn_face, landmarks, template
from skimage.transform import PiecewiseAffineTransform, SimilarityTransform

from clad.synthesis.base import FacePhoto
from clad.synthesis.face_warp import (
    MIRROR_ORDER,
    jitter_matrix,
    mirrored,
    piecewise_affine,
    read_face,
    similarity,
    similarity_map,
)

SIZE = (90, 110)


def test_mirror_twice_is_the_face_itself():
    face = drawn_face(1, SIZE, turn=0.2)
    again = mirrored(mirrored(face))
    np.testing.assert_array_equal(again.image, face.image)
    np.testing.assert_allclose(again.landmarks, face.landmarks, atol=1e-4)
    assert mirrored(face).person == face.person


def test_mirrored_landmarks_of_a_symmetric_face_are_its_own():
    points = landmarks(SIZE) - (0.5, 0)  # the middle of the pixels, not of the frame
    image = np.zeros((*SIZE, 3), np.uint8)
    made = mirrored(FacePhoto(image, points.astype(np.float32), "x"))
    np.testing.assert_allclose(made.landmarks, points, atol=1e-3)
    np.testing.assert_array_equal(np.sort(MIRROR_ORDER), np.arange(68))


def test_mirrored_pixels_follow_their_landmarks():
    face = drawn_face(2, SIZE, turn=0.15)
    made = mirrored(face)
    for number, point in enumerate(np.rint(made.landmarks).astype(int)):
        origin = np.rint(face.landmarks[MIRROR_ORDER[number]]).astype(int)
        seen = made.image[point[1], SIZE[1] - 1 - origin[0]]
        np.testing.assert_array_equal(seen, face.image[origin[1], origin[0]])


def test_similarity_is_that_of_skimage():
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 80, (20, 2)).astype(np.float32)
    target = source @ np.array([[0.8, 0.3], [-0.3, 0.8]]) + (5, -9) + rng.normal(0, 2, (20, 2))
    reference = SimilarityTransform()
    reference.estimate(source, target)
    np.testing.assert_allclose(similarity(source, target), reference.params[:2], atol=1e-4)


def test_similarity_refuses_a_single_place():
    dot = np.full((5, 2), 3, np.float32)
    assert similarity(dot, landmarks(SIZE)[:5]) is None
    assert similarity(landmarks(SIZE)[:5], dot) is None


def test_similarity_map_reads_where_the_matrix_came_from():
    matrix = similarity(landmarks(SIZE, turn=0.3), landmarks(SIZE))
    columns, rows = similarity_map(matrix, SIZE)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]])) @ (17, 41, 1)
    np.testing.assert_allclose((columns[41, 17], rows[41, 17]), back[:2], atol=1e-4)


def test_piecewise_affine_is_that_of_skimage():
    target = np.concatenate([landmarks(SIZE), [[0, 0], [109, 0], [0, 89], [109, 89]]])
    rng = np.random.default_rng(1)
    source = (target + rng.normal(0, 3, target.shape)).astype(np.float32)
    reference = PiecewiseAffineTransform()
    reference.estimate(target, source)
    rows, columns = np.indices(SIZE)
    places = np.stack([columns.ravel(), rows.ravel()], axis=1)
    expected = reference(places).reshape(*SIZE, 2)
    made = piecewise_affine(target.astype(np.float32), source, SIZE)
    gap = np.hypot(made[0] - expected[..., 0], made[1] - expected[..., 1])
    # Pixels on the line between two triangles, rounded to the other one, are all that differs.
    assert made[2].all()
    assert (gap < 1e-3).mean() > 0.8
    assert np.quantile(gap, 0.99) < 1.5


def test_corners_of_triangles_are_read_at_their_counterparts():
    target = np.array([[10, 10], [70, 15], [30, 60]], np.float32)
    source = np.array([[20, 5], [60, 30], [25, 70]], np.float32)
    columns, rows, known = piecewise_affine(target, source, SIZE)
    for (x, y), (u, v) in zip(target.astype(int), source, strict=True):
        np.testing.assert_allclose((columns[y, x], rows[y, x]), (u, v), atol=1e-3)
    assert known.sum() < 0.5 * known.size


def test_points_on_one_line_span_no_triangle():
    line = np.stack([np.arange(9.0), np.arange(9.0)], axis=1).astype(np.float32)
    assert piecewise_affine(line, line, SIZE) is None


def test_reading_says_where_the_image_has_pixels():
    image = drawn_face(0, SIZE).image
    columns, rows = similarity_map(np.array([[1.0, 0, 30], [0, 1, 0]]), SIZE)
    read, known = read_face(image, columns, rows)
    np.testing.assert_array_equal(read[:, 30:], image[:, :-30])
    np.testing.assert_array_equal(known.all(axis=0), np.arange(SIZE[1]) >= 30)


def test_jitter_stays_within_its_limits():
    rng = np.random.default_rng(0)
    drawn = np.stack([jitter_matrix((100, 200), (0.03, 0.015), 0.95, rng) for _ in range(400)])
    factors, centre = drawn[:, [0, 1], [0, 1]], np.array([99.5, 49.5])
    assert factors.min() > 0.95
    assert factors.max() < 1 / 0.95
    assert np.ptp(factors) > 0.09
    shift = drawn @ np.array([*centre, 1]) - centre
    assert (np.abs(shift).max(axis=0) < (6, 1.5)).all()
    assert (np.abs(shift).max(axis=0) > (5.5, 1.4)).all()
    assert not drawn[:, [0, 1], [1, 0]].any()


def test_template_is_symmetric():
    np.testing.assert_allclose(template()[MIRROR_ORDER] * (-1, 1), template(), atol=1e-12)
