from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.noise import (
    blob_distance,
    cells_of_size,
    ellipse_distance,
    fractal_noise,
    perlin_noise,
)


def slow_perlin(shape, cells, angles):
    """Perlin's definition, pixel by pixel."""
    field = np.zeros(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y, x = i * cells[0] / shape[0], j * cells[1] / shape[1]
            row, column = int(y), int(x)
            for node_row in (row, row + 1):
                for node_column in (column, column + 1):
                    dy, dx = y - node_row, x - node_column
                    angle = angles[node_row, node_column]
                    weight = 1.0
                    for t in (1 - abs(dy), 1 - abs(dx)):
                        weight *= 6 * t**5 - 15 * t**4 + 10 * t**3
                    field[i, j] += weight * (np.cos(angle) * dx + np.sin(angle) * dy)
    return field


@pytest.mark.parametrize(("shape", "cells"), [((24, 24), (4, 4)), ((17, 40), (3, 7))])
def test_perlin_noise_equals_its_definition(shape, cells):
    angles = np.random.default_rng(5).uniform(0, 2 * np.pi, (cells[0] + 1, cells[1] + 1))
    expected = slow_perlin(shape, cells, angles)
    field = perlin_noise(shape, cells, np.random.default_rng(5))
    assert field.dtype == np.float32
    np.testing.assert_allclose(field, expected, atol=2e-6)


def test_perlin_noise_is_zero_at_nodes_bounded_and_smooth():
    fields = [perlin_noise((128, 128), (8, 8), np.random.default_rng(seed)) for seed in range(20)]
    stack = np.stack(fields)
    np.testing.assert_allclose(stack[:, ::16, ::16], 0, atol=1e-6)
    assert np.abs(stack).max() <= np.sqrt(0.5)
    assert np.abs(stack).max() > 0.5
    assert abs(stack.mean()) < 0.02
    # Slope of gradient noise is at most a few units per cell, here 16 pixels wide.
    assert np.abs(np.diff(stack, axis=2)).max() < 3 / 16


def test_finer_cells_give_finer_noise():
    coarse, fine = (
        perlin_noise((128, 128), (cells, cells), np.random.default_rng(0)) for cells in (2, 16)
    )
    assert np.abs(np.diff(fine)).mean() > 4 * np.abs(np.diff(coarse)).mean()


def test_fractal_noise_is_the_weighted_sum_of_octaves():
    rng = np.random.default_rng(3)
    octaves = [perlin_noise((64, 64), (cells, cells), rng) for cells in (2, 4, 8)]
    expected = (octaves[0] + 0.5 * octaves[1] + 0.25 * octaves[2]) / 1.75
    field = fractal_noise((64, 64), (2, 2), np.random.default_rng(3), octaves=3, persistence=0.5)
    np.testing.assert_allclose(field, expected, atol=1e-6)
    assert field.dtype == np.float32


def test_octaves_too_fine_for_the_frame_are_left_out():
    one = perlin_noise((16, 16), (6, 6), np.random.default_rng(0))
    np.testing.assert_array_equal(
        fractal_noise((16, 16), (6, 6), np.random.default_rng(0), octaves=4), one
    )


def test_noise_refuses_no_cells():
    with pytest.raises(ValueError, match=r"at least 1 noise cell per axis, got \(0, 4\)"):
        perlin_noise((32, 32), (0, 4), np.random.default_rng(0))


def test_cells_of_size_stays_between_one_and_nyquist():
    assert cells_of_size((100, 200), 25) == (4, 8)
    assert cells_of_size((32, 32), 1000) == (1, 1)
    assert cells_of_size((32, 64), 0.1) == (16, 32)


def test_ellipse_distance_by_hand():
    distance = ellipse_distance((41, 41), (20, 20), (10.0, 5.0), 0.0)
    assert distance[20, 20] == 0
    assert distance[30, 20] == pytest.approx(1)
    assert distance[20, 25] == pytest.approx(1)
    turned = ellipse_distance((41, 41), (20, 20), (np.float64(10.0), np.float64(5.0)), np.pi / 2)
    assert turned[20, 30] == pytest.approx(1)
    assert turned[25, 20] == pytest.approx(1)
    assert turned.dtype == np.float32


@pytest.mark.parametrize("roughness", [0.0, 0.5, 1.0])
def test_blob_holds_its_centre_and_about_its_area(roughness):
    areas = []
    for seed in range(30):
        distance = blob_distance(
            (96, 96), (48, 48), (16.0, 16.0), np.random.default_rng(seed), roughness
        )
        assert distance[48, 48] < 1
        areas.append((distance < 1).sum())
    assert np.mean(areas) == pytest.approx(np.pi * 16**2, rel=0.02 if roughness == 0 else 0.35)
