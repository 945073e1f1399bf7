"""Colours and compression against numbers by hand, skimage and Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from drawn_faces import drawn_face
from PIL import Image
from skimage.color import rgb2lab

from clad.synthesis.face_colour import (
    adjust_contrast,
    chain,
    coarsen,
    compress,
    sharpen,
    shift_channels,
    shift_hsv,
    transfer_colours,
)

FACE = drawn_face(1).image
OTHER = drawn_face(2).image


def test_channels_and_contrast_by_hand():
    image = np.array([[[0, 100, 250]]], np.uint8)
    np.testing.assert_array_equal(shift_channels(image, (-5, 7.4, 20)), [[[0, 107, 255]]])
    np.testing.assert_array_equal(adjust_contrast(image, 0.1, 0.2), [[[26, 146, 255]]])
    np.testing.assert_array_equal(adjust_contrast(image, -0.1, -0.5), [[[0, 24, 100]]])


def test_hue_turns_the_colour_wheel():
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    np.testing.assert_array_equal(shift_hsv(red, 60, 0, 0)[0, 0], (0, 200, 0))
    np.testing.assert_array_equal(shift_hsv(red, -60, 0, 0)[0, 0], (0, 0, 200))
    np.testing.assert_array_equal(shift_hsv(red, 0, 0, -50)[0, 0], (150, 0, 0))
    np.testing.assert_array_equal(shift_hsv(red, 0, -255, 0)[0, 0], (200, 200, 200))


def test_shifts_below_a_half_change_colours_by_rounding_only():
    made = shift_hsv(FACE, 0.3, -0.3, 0.3).astype(int)
    assert np.abs(made - FACE).max() <= 4
    assert (made != FACE).any()


def test_coarsening_takes_every_other_pixel():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8).repeat(3).reshape(8, 8, 3)
    made = coarsen(image, 0.5, nearest=True)
    # Enlarging halves by linear interpolation: the corner is the first pixel that was kept.
    assert made.shape == image.shape
    np.testing.assert_array_equal(made[0, 0], image[0, 0])
    np.testing.assert_array_equal(made[0, 1], np.rint(0.75 * image[0, 0] + 0.25 * image[0, 2]))
    np.testing.assert_array_equal(coarsen(image, 1.0), image)


def test_sharpening_by_hand():
    image = np.full((5, 5, 3), 100, np.uint8)
    image[2, 2] = 120
    made = sharpen(image, 0.5, 1.0)
    np.testing.assert_array_equal(made[2, 2], round(0.5 * 120 + 0.5 * (9 * 120 - 8 * 100)))
    np.testing.assert_array_equal(made[2, 1], round(0.5 * 100 + 0.5 * (9 * 100 - 7 * 100 - 120)))
    np.testing.assert_array_equal(made[0, 0], 100)
    np.testing.assert_array_equal(sharpen(image, 0.5, 0.8)[0, 0], 100 - 10)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_compression_is_about_that_of_pillow(quality):
    stream = io.BytesIO()
    Image.fromarray(FACE).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    reference = np.asarray(Image.open(stream)).astype(int)
    made = compress(FACE, quality).astype(int)
    assert np.abs(made - reference).mean() < 0.6
    assert np.abs(made - FACE).mean() > 2 * np.abs(made - reference).mean()


def test_mean_transfer_gives_the_target_s_mean_inside_the_region():
    source, target = np.full((20, 20, 3), 90, np.uint8), OTHER[:20, :20].copy()
    source[::2] = 110
    region = np.zeros((20, 20), bool)
    region[4:16, 4:16] = True
    made = transfer_colours(source, target, region, "mean")
    np.testing.assert_allclose(made[region].mean(0), target[region].mean(0), atol=0.51)
    # Contrast is kept: rows differ by 20 as before.
    np.testing.assert_array_equal(made[4, 4].astype(int) - made[5, 4], 20)


def test_lab_transfer_gives_mean_and_spread_inside_the_region():
    region = np.zeros(FACE.shape[:2], bool)
    region[30:70, 30:66] = True
    # Far from the limits of RGB, where colours would be clipped.
    pale = shift_channels(FACE // 2 + 50, (15, -10, 5))
    made = rgb2lab(transfer_colours(FACE, pale, region, "lab"))[region]
    wanted = rgb2lab(pale)[region]
    np.testing.assert_allclose(made.mean(0), wanted.mean(0), atol=1.0)
    np.testing.assert_allclose(made.std(0), wanted.std(0), rtol=0.1, atol=0.5)


def test_a_flat_face_is_not_blown_up_into_noise():
    flat = np.full((20, 20, 3), 120, np.uint8)
    flat[::2, ::2] = 122
    region = np.ones((20, 20), bool)
    made = transfer_colours(flat, OTHER[30:50, 30:50], region, "lab").astype(int)
    assert np.ptp(made.reshape(-1, 3), axis=0).max() <= 3 * 2 + 3


def test_none_returns_the_source_and_chains_run_in_order():
    region = np.ones(FACE.shape[:2], bool)
    assert transfer_colours(FACE, OTHER, region, "none") is FACE
    add, halve = lambda image: image + np.uint8(10), lambda image: image // 2
    assert chain([add, halve])(np.full(1, 20, np.uint8)) == 15
    assert chain([])(FACE) is FACE
