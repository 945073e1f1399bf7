from __future__ import annotations

import numpy as np
import pytest

from clad.faces.base import DetectedFace
from clad.faces.crop import (
    crop_aligned,
    crop_box,
    crop_face,
    crop_mask,
    five_points,
    paste_map,
    similarity,
    square_around,
    whole_frame,
)


def ramp(height: int = 60, width: int = 80) -> np.ndarray:
    """Red is 2 x the row, green 2 x the column."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 2 * np.arange(height)[:, None]
    image[..., 1] = 2 * np.arange(width)
    return image


def test_square_by_hand() -> None:
    assert square_around((10, 20, 30, 30), 1.0) == (10, 15, 30, 35)
    assert square_around((10, 20, 30, 30), 1.3) == (7, 12, 33, 38)
    assert square_around((5, 5, 5, 5), 1.3) == (5, 5, 6, 6)


def test_crop_of_its_own_size_is_a_cut() -> None:
    crop = crop_box(ramp(), (10, 20, 30, 40), size=26)
    np.testing.assert_array_equal(crop.image, ramp()[7:33, 17:43])
    np.testing.assert_allclose(
        crop.points(np.array([(17, 7), (42, 32)], float)), [(0, 0), (25, 25)]
    )


def test_pixels_beyond_the_border_repeat_the_edge() -> None:
    image = ramp()
    crop = crop_box(image, (-10, 70, 10, 90), size=20, margin=1)
    np.testing.assert_array_equal(crop.image[10:, :10], image[:10, 70:])
    np.testing.assert_array_equal(crop.image[:10], np.repeat(crop.image[10:11], 10, axis=0))
    np.testing.assert_array_equal(crop.image[:, 10:], np.repeat(crop.image[:, 9:10], 10, axis=1))


@pytest.mark.parametrize("size", [13, 26, 52, 97])
def test_points_move_with_the_pixels(size) -> None:
    crop = crop_box(ramp(), (12, 22, 42, 52), size, margin=1.2)
    (x, y), *_ = crop.points(np.array([(33.0, 28.0)]))
    red, green, _ = crop.image[round(y), round(x)] / 2
    step = 36 / size
    assert abs(red - 28) <= step
    assert abs(green - 33) <= step


def test_whole_frame() -> None:
    crop = whole_frame(ramp(), 40)
    assert crop.image.shape == (40, 40, 3)
    corners = crop.points(np.array([(-0.5, -0.5), (79.5, 59.5)]))
    np.testing.assert_allclose(corners, [(-0.5, -0.5), (39.5, 39.5)])
    one = whole_frame(np.full((1, 1, 3), 9, np.uint8), 8)
    assert (one.image == 9).all()


def test_similarity_recovers_what_was_done() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 50, (5, 2))
    turn = 0.7
    matrix = np.array(
        [[1.5 * np.cos(turn), -1.5 * np.sin(turn), 4], [1.5 * np.sin(turn), 1.5 * np.cos(turn), -9]]
    )
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(similarity(points, moved), matrix)


def test_similarity_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(1)
    source, target = rng.uniform(0, 50, (2, 5, 2))
    # x' = a x - b y + c, y' = b x + a y + d as a linear system.
    rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
    a, b, c, d = np.linalg.lstsq(np.array(rows), target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, c], [b, a, d]])
    with pytest.raises(ValueError, match="landmarks in different places"):
        similarity(np.ones((5, 2)), target)


def test_alignment_brings_eyes_to_the_mean_face() -> None:
    eyes = np.array([(30.0, 20.0), (42.0, 32.0)], np.float32)  # turned by 45 degrees
    for size in (24, 112, 300):
        crop = crop_aligned(ramp(), eyes, size, margin=1.0)
        left, right = crop.points(eyes)
        np.testing.assert_allclose((left + 0.5) * 112 / size, (38.7946, 52.1963), atol=1e-3)
        np.testing.assert_allclose((right + 0.5) * 112 / size, (74.0318, 52.0014), atol=1e-3)
    wide = crop_aligned(ramp(), eyes, 112, margin=2.0)
    left, right = wide.points(eyes)
    near, far = crop_aligned(ramp(), eyes, 112, margin=1.0).points(eyes)
    np.testing.assert_allclose(right - left, (far - near) / 2, atol=1e-3)


def test_aligned_pixels_are_where_the_matrix_says() -> None:
    eyes = np.array([(30.0, 20.0), (40.0, 24.0)], np.float32)
    for size in (12, 64):
        crop = crop_aligned(ramp(), eyes, size, margin=1.2)
        for x, y in np.array([(34.0, 26.0), (38.0, 30.0)]):
            (u, v), *_ = crop.points(np.array([(x, y)]))
            red, green, _ = crop.image[round(v), round(u)] / 2
            step = np.hypot(*np.linalg.inv(crop.matrix[:, :2])[0])
            assert abs(red - y) <= step + 0.5
            assert abs(green - x) <= step + 0.5


def test_five_of_68_points() -> None:
    points = np.zeros((68, 2), np.float32)
    points[36:42], points[42:48] = (10, 20), (30, 20)
    points[30], points[48], points[54] = (20, 30), (12, 40), (28, 40)
    expected = [(10, 20), (30, 20), (20, 30), (12, 40), (28, 40)]
    np.testing.assert_array_equal(five_points(points), expected)
    with pytest.raises(ValueError, match=r"got \(7, 2\)"):
        five_points(np.zeros((7, 2), np.float32))


def test_choice_of_the_crop() -> None:
    landmarks = np.array([(30, 20), (42, 20)], np.float32)
    face = DetectedFace((10, 20, 30, 40), 1.0, landmarks)
    image = ramp()
    np.testing.assert_array_equal(
        crop_face(image, face, 26).image, crop_box(image, face.box, 26).image
    )
    np.testing.assert_array_equal(crop_face(image, None, 26).image, whole_frame(image, 26).image)
    np.testing.assert_array_equal(
        crop_face(image, face, 26, align=True).image, crop_aligned(image, landmarks, 26).image
    )
    with pytest.raises(ValueError, match="expected landmarks to align faces by, got boxes alone"):
        crop_face(image, DetectedFace(face.box), 26, align=True)
    with pytest.raises(ValueError, match="margin"):
        crop_face(image, face, 26, margin=0)


@pytest.mark.parametrize("size", [26, 52])
def test_mask_of_a_crop_is_the_crop_of_its_mask(size) -> None:
    mask = np.zeros((60, 80), bool)
    mask[15:25, 22:35] = True
    crop = crop_box(np.repeat(255 * mask[..., None], 3, 2).astype(np.uint8), (10, 20, 30, 40), size)
    made = crop_mask(mask, crop)
    if size == 26:
        np.testing.assert_array_equal(made, mask[7:33, 17:43])
    assert (made != (crop.image[..., 0] > 127)).mean() < 0.02


def test_map_comes_back_to_its_place() -> None:
    values = np.random.default_rng(0).random((26, 26), dtype=np.float32)
    crop = crop_box(ramp(), (10, 20, 30, 40), size=26)
    pasted = paste_map([values], [crop.matrix], 26, (60, 80))
    np.testing.assert_allclose(pasted[7:33, 17:43], values, atol=1e-6)
    assert np.isnan(pasted).sum() == 60 * 80 - 26 * 26


def test_largest_value_wins_where_crops_overlap() -> None:
    crops = [crop_box(ramp(), box, 20, margin=1) for box in ((10, 20, 30, 40), (20, 30, 40, 50))]
    maps = [np.full((5, 5), 1, np.float32), np.full((9, 9), 3, np.float32)]
    pasted = paste_map(maps, [crop.matrix for crop in crops], 20, (60, 80))
    assert (pasted[20:40, 30:50] == 3).all()
    assert (pasted[10:20, 20:40] == 1).all()
    assert np.isnan(pasted[:10]).all()
    assert np.isnan(paste_map([], [], 20, (4, 4))).all()


def test_map_of_a_crop_beyond_the_border() -> None:
    crop = crop_box(ramp(), (-10, 70, 10, 90), size=20, margin=1)
    values = np.arange(400, dtype=np.float32).reshape(20, 20)
    pasted = paste_map([values], [crop.matrix], 20, (60, 80))
    np.testing.assert_allclose(pasted[:10, 70:], values[10:, :10], atol=1e-3)
    assert np.isnan(pasted).sum() == 60 * 80 - 100


def test_map_of_a_turned_crop() -> None:
    eyes = np.array([(30.0, 20.0), (40.0, 24.0)], np.float32)
    crop = crop_aligned(ramp(), eyes, 64)
    (u, v), *_ = crop.points(np.array([(36.0, 30.0)]))
    rows, columns = np.mgrid[:64, :64]
    values = -np.hypot(columns - u, rows - v).astype(np.float32)
    pasted = paste_map([values], [crop.matrix], 64, (60, 80))
    assert np.unravel_index(np.nanargmax(pasted), pasted.shape) == (30, 36)
