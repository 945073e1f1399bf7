"""Blending: the mask's rule by hand, the membrane against a sparse solver."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_faces import drawn_face
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from clad.synthesis.face_blend import MIN_WEIGHT, Blend, compose, membrane, paste, seamless


def disc(size, centre, radius):
    rows, columns = np.indices(size)
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def solve_exactly(values, region):
    """Laplace's equation on the region: each pixel is the mean of its neighbours in the frame."""
    number = -np.ones(region.shape, int)
    number[region] = np.arange(region.sum())
    matrix = lil_matrix((region.sum(), region.sum()))
    right = np.zeros((region.sum(), values.shape[2]))
    for row, column in zip(*np.nonzero(region), strict=True):
        here = number[row, column]
        for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if not (0 <= place[0] < region.shape[0] and 0 <= place[1] < region.shape[1]):
                continue
            matrix[here, here] += 1
            if region[place]:
                matrix[here, number[place]] -= 1
            else:
                right[here] += values[place]
    solved = values.astype(np.float64).copy()
    solved[region] = spsolve(matrix.tocsr(), right).reshape(-1, values.shape[2])
    return solved


@pytest.mark.parametrize("centre", [(24, 30), (0, 30), (47, 59)])
def test_membrane_solves_laplace_s_equation(centre):
    size = (48, 60)
    region = disc(size, centre, 17)
    rows, columns = np.indices(size)
    values = np.stack([columns, 40 * np.sin(rows / 9.0), 0.1 * rows * columns], 2)
    values = values.astype(np.float32)
    made, exact = membrane(values, region), solve_exactly(values, region)
    np.testing.assert_array_equal(made[~region], values[~region])
    spread = np.ptp(values[~region], axis=0)
    assert (np.abs(made - exact)[region].max(axis=0) < 0.06 * spread).all()
    assert (np.abs(made - exact)[region].mean(axis=0) < 0.02 * spread).all()


def test_membrane_of_a_constant_border_is_constant():
    region = disc((40, 40), (20, 20), 12)
    values = np.where(region[..., None], np.float32(99), np.float32(7))
    values = np.repeat(values, 3, axis=2)
    np.testing.assert_allclose(membrane(values, region), 7, atol=1e-4)
    assert not membrane(values, np.ones((40, 40), bool)).any()


def test_seamless_paste_takes_the_gradients_and_leaves_the_rest():
    target, source = drawn_face(1).image, drawn_face(1).image // 2 + 60
    region = disc(target.shape[:2], (50, 48), 25)
    made = seamless(source, target, region)
    np.testing.assert_array_equal(made[~region], target[~region])
    # A source that is the target plus a constant comes back as the target.
    brighter = np.clip(target, 0, 200)
    np.testing.assert_array_equal(
        np.abs(seamless(brighter + 50, brighter, region).astype(int) - brighter).max(), 0
    )


def test_seamless_paste_has_no_step_at_the_edge():
    target = np.full((60, 60, 3), 200, np.uint8)
    source = np.full((60, 60, 3), 50, np.uint8)
    source[28:32, 28:32] = 90
    region = disc((60, 60), (30, 30), 20)
    made = seamless(source, target, region).astype(int)
    assert abs(made[30, 11, 0] - 200) <= 1
    assert made[30, 30, 0] - made[30, 20, 0] == pytest.approx(40, abs=1)


def test_mask_is_weight_above_the_threshold_and_a_changed_pixel():
    target = np.full((12, 40, 3), 100, np.uint8)
    source = np.full((12, 40, 3), 180, np.uint8)
    source[:, 30:] = 100
    weights = np.tile(np.repeat([0.0, MIN_WEIGHT, 0.05, 0.5, 1.0], 8).astype(np.float32), (12, 1))
    image, mask = compose(Blend(target, source, weights))
    expected = np.repeat([100, 100, 104, 140, 180], 8)
    expected[30:] = 100
    np.testing.assert_array_equal(image[5, :, 0], expected)
    # Columns 30 and 31 are equal by chance: at the edge of what changed, nothing is closed.
    np.testing.assert_array_equal(mask[5], np.isin(np.arange(40), np.arange(16, 30)))


def test_holes_of_equal_pixels_are_closed_up_to_four():
    target = np.full((30, 30, 3), 100, np.uint8)
    source = np.full((30, 30, 3), 150, np.uint8)
    source[5:9, 5:9] = 100
    source[15:23, 15:23] = 100
    _, mask = compose(Blend(target, source, np.ones((30, 30), np.float32)))
    assert mask[5:9, 5:9].all()
    assert not mask[18:20, 18:20].any()


def test_feathered_paste_mixes_and_poisson_paste_is_whole():
    target, source = drawn_face(1).image, drawn_face(2).image
    region = disc(target.shape[:2], (50, 48), 25)
    soft = paste(target, source, region, "feather", 0.2)
    assert soft.source is source
    assert 0 < soft.weights[50, 24] < 0.2
    hard = paste(target, source, region, "poisson", 0.2)
    np.testing.assert_array_equal(hard.weights, region.astype(np.float32))
