from __future__ import annotations

import numpy as np
import pytest
from skimage import data, draw

from clad.synthesis.foreground import find_object


def disc_image(
    shape=(200, 260), ground=(225, 228, 230), colour=(120, 60, 40), radius=60, noise=3.0
):
    image = np.empty((*shape, 3))
    image[:] = ground
    rows, columns = draw.disk((shape[0] / 2 - 10, shape[1] / 2 + 5), radius, shape=shape)
    image[rows, columns] = colour
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    truth = np.zeros(shape, bool)
    truth[rows, columns] = True
    return np.clip(image, 0, 255).astype(np.uint8), truth


@pytest.mark.parametrize(
    ("ground", "colour"),
    [
        ((225, 228, 230), (120, 60, 40)),
        ((10, 10, 12), (70, 70, 75)),
        ((120, 120, 120), (120, 190, 60)),
    ],
)
@pytest.mark.parametrize("shape", [(200, 260), (64, 64), (500, 300)])
def test_object_on_plain_ground_is_found(ground, colour, shape):
    image, truth = disc_image(shape, ground, colour, radius=min(shape) * 0.3)
    found = find_object(image)
    assert found is not None
    assert found.dtype == bool
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_object_that_leaves_the_frame_is_found():
    image, _ = disc_image()
    found = find_object(np.ascontiguousarray(image[:, : image.shape[1] // 2 + 40]))
    assert found is not None


@pytest.mark.parametrize(
    "image",
    [
        np.full((80, 80, 3), 90, np.uint8),
        np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8),
        np.random.default_rng(0).normal(120, 8, (80, 80, 3)).astype(np.uint8),
        np.repeat(np.tile(np.linspace(100, 140, 96), (96, 1))[..., None], 3, 2).astype(np.uint8),
        np.repeat(data.grass()[..., None], 3, axis=2),
        np.repeat(data.brick()[..., None], 3, axis=2),
        data.astronaut(),
    ],
    ids=["constant", "noise", "faint grain", "ramp", "grass", "brick", "astronaut"],
)
def test_no_clear_object_gives_none(image):
    assert find_object(image) is None


def test_soft_vignette_is_no_object():
    rows, columns = np.mgrid[-1:1:128j, -1:1:128j]
    light = 90 + 60 * np.exp(-(rows**2 + columns**2))
    assert find_object(np.repeat(light[..., None], 3, axis=2).astype(np.uint8)) is None


def test_speck_is_no_object():
    image, _ = disc_image(radius=6)
    assert find_object(image) is None
