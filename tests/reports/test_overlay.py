from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from clad.reports.overlay import (
    _colours,
    jpeg_data_uri,
    legend_gradient,
    outline,
    overlay,
    to_grey,
)

GREY = np.full((8, 8, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize(
    ("position", "warm"), [(0.0, False), (0.48, False), (0.52, True), (1.0, True)]
)
def test_colours_turn_warm_at_the_threshold(position, warm):
    red, _, blue = overlay(GREY, np.full((8, 8), position))[0, 0].astype(int)
    assert (red > blue) == warm


def test_the_same_map_value_has_the_same_colour_in_any_image():
    position = np.zeros((8, 8))
    position[2, 3] = 0.9
    busy = position.copy()
    busy[5:] = 1.0
    np.testing.assert_array_equal(overlay(GREY, position)[2, 3], overlay(GREY, busy)[2, 3])


def test_the_table_of_colours_is_the_formula_to_two_levels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    position = rng.random((40, 50))
    grey = np.round(image @ (0.299, 0.587, 0.114))
    colours, opacity = _colours(position)
    mixed = np.round(grey[..., None] * (1 - opacity) + colours * opacity)
    found = overlay(image, position)
    assert abs(found - mixed).max() <= 2
    assert abs(found - mixed).mean() < 0.2
    np.testing.assert_array_equal(to_grey(image), grey)


def test_the_outline_surrounds_the_mask_and_leaves_it_visible():
    mask = np.zeros((20, 20), dtype=bool)
    mask[8:12, 8:12] = True
    image = np.full((20, 20, 3), 128, dtype=np.uint8)
    drawn = outline(image, mask)
    assert (drawn[mask] == 128).all()
    assert (drawn[7, 8:12] == (25, 235, 255)).all()
    assert (drawn[0] == 128).all()
    assert (image == 128).all()
    np.testing.assert_array_equal(outline(image, np.zeros_like(mask)), image)


def test_a_data_address_decodes_to_the_image():
    uri = jpeg_data_uri(GREY)
    head, body = uri.split(",")
    assert head == "data:image/jpeg;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    np.testing.assert_allclose(decoded, GREY, atol=2)


def test_the_legend_has_the_stops_of_the_scale():
    gradient = legend_gradient()
    assert gradient.startswith("linear-gradient(90deg,rgb(")
    assert gradient.count("rgb(") == 7
    assert gradient.endswith("100%)")
