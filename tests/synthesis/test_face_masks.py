"""Blending weights against slow references written from the papers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from clad.synthesis.face_masks import (
    blurred_twice,
    boundary_map,
    dilated,
    elastic_offsets,
    eroded,
    feathered,
    grid_warped,
    moved,
    scaled_kernel,
)


def disc(side=64, radius=20.0):
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    return np.hypot(rows, columns) <= radius


def gaussian(kernel_px, sigma):
    offsets = np.arange(kernel_px) - (kernel_px - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def blur(image, kernel_px, sigma):
    """Both axes by sums over a mirrored frame, in float64."""
    weights, half = gaussian(kernel_px, sigma), kernel_px // 2
    for axis in (0, 1):
        spare = [(half, half) if axis == n else (0, 0) for n in (0, 1)]
        wide = np.pad(image.astype(np.float64), spare, mode="reflect")
        shifted = [np.take(wide, range(k, k + image.shape[axis]), axis) for k in range(kernel_px)]
        image = sum(weight * part for weight, part in zip(weights, shifted, strict=True))
    return image


@pytest.mark.parametrize(("first", "second", "sigma"), [(5, 25, 5), (11, 7, 45), (25, 5, 20)])
def test_two_blurs_follow_the_recipe(first, second, sigma):
    region = disc().astype(np.float32)
    core = blur(region, first, 0.3 * ((first - 1) * 0.5 - 1) + 0.8)
    core /= core.max()
    core[core < 1 - 1e-4] = 0
    soft = blur(core, second, sigma)
    made = blurred_twice(region, region.shape, (first, second), sigma)
    np.testing.assert_allclose(made, soft / soft.max(), atol=2e-5)
    assert made.dtype == np.float32
    assert made.max() == 1


def test_first_blur_erodes_by_half_its_kernel():
    region = np.zeros((64, 64), np.float32)
    region[16:48, 16:48] = 1
    # The narrowest second blur leaves a fringe of two pixels around what the first one kept.
    made = blurred_twice(region, region.shape, (17, 5), 5)
    reach = np.nonzero(made.any(axis=0))[0]
    assert (reach[0], reach[-1]) == (16 + 8 - 2, 47 - 8 + 2)


def test_work_size_is_that_of_the_kernels():
    region = disc(128, 40).astype(np.float32)
    small = cv2.resize(region, (64, 48))
    direct = blurred_twice(small, (48, 64), (7, 9), 5)
    made = blurred_twice(region, (48, 64), (7, 9), 5)
    np.testing.assert_allclose(made, cv2.resize(direct, (128, 128)), atol=1e-6)


def test_an_empty_region_stays_empty_and_a_dot_survives():
    empty = np.zeros((40, 40), np.float32)
    assert not blurred_twice(empty, (200, 220), (5, 5), 5).any()
    empty[20, 20] = 1
    assert blurred_twice(empty, (200, 220), (25, 25), 5).max() > 0.5


def test_boundary_map_by_hand():
    weights = np.array([0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(boundary_map(weights), [0, 0.75, 1, 0.75, 0])
    with pytest.raises(ValueError, match=r"blending weights in \[0, 1\], got \[0, 1.5\]"):
        boundary_map(np.array([1.5]))


def test_feather_rises_with_the_distance_to_the_edge():
    region = np.zeros((30, 60), bool)
    region[5:25, 10:50] = True
    made = feathered(region, 0.2)  # 0.2 x 40 px: 8 px
    np.testing.assert_allclose(made[15, 10:20], [*np.arange(1, 9) / 8, 1, 1], atol=0.02)
    assert not made[~region].any()
    np.testing.assert_array_equal(feathered(region, 0.0), region.astype(np.float32))
    np.testing.assert_array_equal(feathered(np.ones((9, 9), bool), 0.2), np.ones((9, 9)))


def test_elastic_offsets_are_smoothed_uniform_noise():
    alpha, sigma = 50.0, 7.0
    rows, columns = elastic_offsets((400, 400), alpha, sigma, np.random.default_rng(0))
    # Uniform noise has variance 1/3; a Gaussian of sigma divides it by 4 pi sigma squared.
    expected = alpha * np.sqrt(1 / 3 / (4 * np.pi * sigma**2))
    for offsets in (rows, columns):
        assert offsets.std() == pytest.approx(expected, rel=0.15)
        assert abs(offsets.mean()) < 0.2
        assert np.abs(np.diff(offsets, axis=0)).max() < 1
    assert abs(np.corrcoef(rows.ravel(), columns.ravel())[0, 1]) < 0.15


def test_a_region_moves_with_matrix_and_offsets():
    region = np.zeros((40, 40), bool)
    region[10:20, 10:20] = True
    shift = np.array([[1.0, 0, 5], [0, 1, -3]])
    none = np.zeros((40, 40), np.float32)
    np.testing.assert_array_equal(moved(region, shift, (none, none))[7:17, 15:25], 1)
    assert moved(region, shift, (none, none)).sum() == 100
    # Each pixel is read one row further down, so what is seen lies one row further up.
    made = moved(region, np.eye(2, 3), (none + 1, none))
    np.testing.assert_array_equal(made[9:19, 10:20], 1)
    assert made.sum() == 100


def test_grid_warp_without_strength_is_the_identity_and_with_it_moves_the_region():
    region = disc()
    made = grid_warped(region, 0.0, np.random.default_rng(0))
    assert (made != region).mean() < 0.002
    warped = [grid_warped(region, 0.1, np.random.default_rng(seed)) for seed in range(4)]
    assert all(each.any() and (each != region).mean() > 0.02 for each in warped)


def test_kernels_take_away_and_add_half_their_width():
    region = np.zeros((40, 40), bool)
    region[10:30, 10:30] = True
    assert eroded(region, 7).sum() == 14**2
    assert dilated(region, 7).sum() == 26**2
    assert scaled_kernel(21, (256, 300)) == 21
    assert scaled_kernel(21, (128, 128)) == 11
    assert scaled_kernel(5, (32, 32)) == 1
