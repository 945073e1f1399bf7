from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.perlin_texture import SOURCES, PerlinTexture, perlin_mask
from clad.synthesis.texture import random_texture

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (72, 100, 3), dtype=np.uint8)
GREY = np.repeat(RNG.integers(0, 256, (72, 100, 1), dtype=np.uint8), 3, axis=2)


@pytest.mark.parametrize("area", [0.01, 0.1, 0.3])
def test_mask_covers_about_its_area(area):
    for seed in range(10):
        mask = perlin_mask((200, 240), area, None, np.random.default_rng(seed))
        assert mask.mean() == pytest.approx(area, rel=0.25)


def test_mask_stays_on_the_object_and_covers_its_share():
    target = np.zeros((200, 240), bool)
    target[50:150, 60:160] = True
    for seed in range(10):
        mask = perlin_mask((200, 240), 0.2, target, np.random.default_rng(seed))
        assert not (mask & ~target).any()
        assert mask.sum() == pytest.approx(0.2 * target.sum(), rel=0.25)


@pytest.mark.parametrize("source", SOURCES)
def test_textures_are_new_arrays_of_the_images_kind(source):
    for image in (COLOUR, GREY):
        before = image.copy()
        for seed in range(25):
            texture = random_texture(image, source, np.random.default_rng(seed))
            assert texture.shape == image.shape
            assert texture.dtype == np.uint8
            np.testing.assert_array_equal(image, before)
            if image is GREY:
                assert (np.ptp(texture, axis=2) == 0).all()


def test_textures_from_the_image_differ_from_it():
    for seed in range(25):
        texture = random_texture(COLOUR, "image", np.random.default_rng(seed))
        assert np.abs(texture.astype(int) - COLOUR).mean() > 10


@pytest.mark.parametrize("opacity", [0.2, 0.6, 1.0])
def test_opacity_is_the_weight_of_the_texture(opacity):
    image = np.zeros((64, 64, 3), np.uint8)
    generator = PerlinTexture(opacity=(opacity, opacity), sources=("flat",), foreground="whole")
    maxima = [generator(image, np.random.default_rng(seed))[0].max() for seed in range(40)]
    assert max(maxima) <= round(255 * opacity)
    assert max(maxima) > 0.9 * 255 * opacity


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"area": (0.0, 0.2)}, "expected area"),
        ({"opacity": (0.5, 1.5)}, "expected opacity"),
        ({"sources": ("image", "dtd")}, "expected texture source to be one of flat, grating"),
        ({"sources": ()}, "expected at least one texture source, got none"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PerlinTexture(**settings)
