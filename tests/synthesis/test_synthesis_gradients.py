from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.gradients import solve_poisson
from clad.synthesis.poisson_blend import PoissonBlend, poisson_paste

RNG = np.random.default_rng(0)


def laplacian(image):
    return (
        image[:-2, 1:-1]
        + image[2:, 1:-1]
        + image[1:-1, :-2]
        + image[1:-1, 2:]
        - 4 * image[1:-1, 1:-1]
    )


def dense_solution(target, divergence):
    """The same equation as one linear system, written out pixel by pixel."""
    height, width = target.shape
    matrix, right = np.zeros((height * width,) * 2), np.zeros(height * width)
    for i in range(height):
        for j in range(width):
            row = i * width + j
            if i in (0, height - 1) or j in (0, width - 1):
                matrix[row, row], right[row] = 1, target[i, j]
                continue
            matrix[row, row] = -4
            for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                matrix[row, (i + di) * width + j + dj] = 1
            right[row] = divergence[i - 1, j - 1]
    return np.linalg.solve(matrix, right).reshape(height, width)


def test_solver_equals_a_dense_linear_system():
    target, right, down = (
        RNG.normal(0, 50, (7, 9, 1)),
        RNG.normal(0, 9, (7, 8, 1)),
        RNG.normal(0, 9, (6, 9, 1)),
    )
    divergence = np.diff(right[1:-1], axis=1) + np.diff(down[:, 1:-1], axis=0)
    expected = dense_solution(target[..., 0], divergence[..., 0])
    np.testing.assert_allclose(solve_poisson(target, right, down)[..., 0], expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 3), (8, 31), (64, 47)])
def test_paste_keeps_border_of_target_and_laplacian_of_source(shape):
    target = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    source = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = poisson_paste(target, source, np.ones(shape, bool), mixed=False)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        np.testing.assert_array_equal(result[edge], target[edge])
    np.testing.assert_allclose(laplacian(result), laplacian(source.astype(float)), atol=0.01)


def test_gradient_inside_is_the_sources_where_borders_agree():
    source = RNG.integers(40, 200, (30, 40, 3), dtype=np.uint8)
    target = source + np.uint8(23)
    target[1:-1, 1:-1] = 0
    result = poisson_paste(target, source, np.ones((30, 40), bool), mixed=False)
    np.testing.assert_allclose(result, source.astype(float) + 23, atol=0.01)
    for axis in (0, 1):
        np.testing.assert_allclose(
            np.diff(result, axis=axis), np.diff(source.astype(float), axis=axis), atol=0.01
        )


def test_paste_of_nothing_gives_the_target_back():
    target = RNG.integers(0, 256, (25, 33, 3), dtype=np.uint8)
    source = RNG.integers(0, 256, (25, 33, 3), dtype=np.uint8)
    empty = np.zeros((25, 33), bool)
    np.testing.assert_allclose(poisson_paste(target, source, empty, mixed=False), target, atol=0.01)
    flat = np.full_like(source, 77)
    full = np.ones((25, 33), bool)
    np.testing.assert_allclose(poisson_paste(target, flat, full, mixed=True), target, atol=0.01)


def test_flat_source_gives_the_mean_value_property():
    target = np.zeros((33, 33, 3), np.uint8)
    target[0, :], target[-1, :], target[:, 0], target[:, -1] = 40, 80, 120, 160
    target[0, 0] = target[0, -1] = target[-1, 0] = target[-1, -1] = 100
    result = poisson_paste(target, np.zeros_like(target), np.ones((33, 33), bool), mixed=False)
    assert result[16, 16, 0] == pytest.approx(100, abs=0.1)
    assert 40 <= result.min() <= result.max() <= 160


def test_patch_without_inner_pixel_is_refused():
    with pytest.raises(ValueError, match="at least 3 x 3 pixels, got 2 x 5"):
        solve_poisson(np.zeros((2, 5, 3)), np.zeros((2, 4, 3)), np.zeros((1, 5, 3)))


def test_blend_stays_within_its_window():
    rows, columns = np.mgrid[:96, :120]
    image = np.stack([rows * 2, columns * 2, (rows // 8 + columns // 8) % 2 * 200], axis=2)
    image = image.astype(np.uint8)
    generator = PoissonBlend(size=(0.2, 0.2), foreground="whole")
    for seed in range(10):
        changed, mask = generator(image, np.random.default_rng(seed))
        inside_rows, inside_columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert np.ptp(inside_rows) < 20
        assert np.ptp(inside_columns) < 20
        moved = np.abs(changed.astype(int) - image).max(axis=2)
        assert (moved[mask] > 3).mean() > 0.6
