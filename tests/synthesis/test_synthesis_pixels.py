from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.pixels import (
    add_levels,
    amplify,
    appearance_change,
    blend,
    changed_pixels,
    fill_polygon,
    mean_change,
    soft_edge,
    tone_curve,
    turn_matrix,
    warp,
)

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
OTHER = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_blend_is_the_weighted_mean():
    alpha = RNG.random((40, 50)).astype(np.float32)
    weights = alpha[..., None].astype(np.float64)
    expected = IMAGE * (1 - weights) + OTHER * weights
    assert np.abs(blend(IMAGE, OTHER, alpha) - expected).max() <= 0.5 + 1e-3


def test_add_levels_rounds_and_clips():
    image = np.full((2, 2, 3), 250, np.uint8)
    levels = np.array([[0, 3.6], [20, -260]], np.float32)
    np.testing.assert_array_equal(add_levels(image, levels)[..., 1], [[250, 254], [255, 0]])


def test_amplify_multiplies_the_change():
    before, after = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 95, np.uint8)
    assert (amplify(before, after, 4.0) == 80).all()
    np.testing.assert_array_equal(amplify(IMAGE, OTHER, 1.0), OTHER)


def test_tone_curve_takes_one_curve_or_one_per_channel():
    levels = np.arange(256.0)
    np.testing.assert_array_equal(tone_curve(IMAGE, 255 - levels), 255 - IMAGE)
    curves = np.stack([levels, levels + 300, levels * 0 - 4], axis=1)
    mapped = tone_curve(IMAGE, curves)
    np.testing.assert_array_equal(mapped[..., 0], IMAGE[..., 0])
    assert (mapped[..., 1] == 255).all()
    assert (mapped[..., 2] == 0).all()


def test_turning_by_90_degrees_turns_the_array():
    square = IMAGE[:39, :39]
    turned = warp(np.ascontiguousarray(square), turn_matrix((19, 19), 90.0), exact=True)
    np.testing.assert_array_equal(turned, np.rot90(square))


def test_changed_pixels_need_more_than_three_levels():
    before = np.full((20, 20, 3), 50, np.uint8)
    after = before.copy()
    after[2, 2] += 3
    after[10, 10, 1] += 4
    mask = changed_pixels(before, after, np.ones((20, 20), bool))
    assert mask.sum() == 1
    assert mask[10, 10]


def test_mean_change_by_hand():
    mask = np.zeros((40, 50), bool)
    mask[3:9, 4:20] = True
    expected = np.abs(IMAGE.astype(int) - OTHER)[mask].mean()
    assert mean_change(IMAGE, OTHER, mask) == pytest.approx(expected)
    assert mean_change(IMAGE, OTHER, np.zeros_like(mask)) == 0


def test_appearance_change_tells_colour_grain_and_nothing_apart():
    grain = RNG.normal(0, 20, (128, 128, 1))
    base = np.repeat(np.clip(128 + grain, 0, 255), 3, axis=2).astype(np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[30:90, 30:90] = True
    colour, strength = appearance_change(base, np.roll(base, 11, axis=1), mask)
    assert colour < 10  # a fifth of the change of single pixels, 22 levels
    assert strength < 1
    colour, strength = appearance_change(
        base, add_levels(base, np.full((128, 128), 12.0, "f4")), mask
    )
    assert colour == pytest.approx(12, abs=0.5)
    assert strength < 0.5
    rows = np.repeat(np.repeat(RNG.normal(128, 20, (128, 1, 1)), 128, axis=1), 3, axis=2)
    striped = rows.clip(0, 255).astype(np.uint8)
    _, strength = appearance_change(striped, np.ascontiguousarray(striped.swapaxes(0, 1)), mask)
    assert strength > 8  # same grain in the other direction


def test_polygon_is_row_column():
    mask = fill_polygon((20, 30), np.array([[2, 5], [2, 25], [8, 25], [8, 5]], float))
    expected = np.zeros((20, 30), bool)
    expected[2:9, 5:26] = True
    np.testing.assert_array_equal(mask, expected)


def test_soft_edge_falls_from_middle_to_zero_outside():
    region = np.zeros((41, 41), bool)
    region[10:31, 10:31] = True
    weight = soft_edge(region)
    assert weight[20, 20] == 1
    assert (weight[~region] == 0).all()
    assert 0 < weight[10, 20] < weight[12, 20] < 1
