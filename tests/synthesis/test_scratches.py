from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

from clad.synthesis.scratches import Scratches, Stroke, crack, random_path, render

GREY = np.full((256, 256, 3), 128, np.uint8)


@pytest.mark.parametrize("width", [1.0, 1.5, 3.0, 6.25])
def test_drawn_line_has_its_width_strength_and_place(width):
    path = np.stack([np.full(11, 30.0), np.linspace(20, 180, 11)], axis=1)
    alpha = render((60, 200), [Stroke(path, np.full(10, width), np.full(10, 0.8))])
    middle = alpha[:, 40:160]
    np.testing.assert_allclose(middle.sum(axis=0) / 0.8, width, atol=0.51)
    np.testing.assert_allclose(np.arange(60) @ middle / middle.sum(axis=0), 30, atol=0.3)
    assert middle.max() == pytest.approx(0.8, abs=0.01)
    assert (alpha > 0).any(axis=0).sum() == pytest.approx(160, abs=8)


def test_walk_has_its_length_and_direction():
    path = random_path((10.0, 20.0), 48.0, 0.0, 0.0, 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(path[0], (10, 20))
    np.testing.assert_allclose(path[-1], (10, 68))
    bent = random_path((0.0, 0.0), 48.0, 1.0, 2.0, 0.3, np.random.default_rng(0))
    lengths = np.linalg.norm(np.diff(bent, axis=0), axis=1)
    assert lengths.sum() == pytest.approx(48)


@pytest.mark.parametrize("share", [0.005, 0.02])
def test_scratch_is_as_thin_as_asked(share):
    generator = Scratches(
        "scratch", count=(1, 1), width=(share, share), contrast=(60, 60), foreground="whole"
    )
    for seed in range(8):
        _, mask = generator(GREY, np.random.default_rng(seed))
        thickness = 2 * distance_transform_edt(mask).max()
        assert thickness <= share * 256 + 3


def test_contrast_bounds_the_change():
    generator = Scratches("scratch", contrast=(20, 40), foreground="whole")
    for seed in range(10):
        changed, _ = generator(GREY, np.random.default_rng(seed))
        assert np.abs(changed.astype(int) - 128).max() <= 60 + 1  # 40, and half of it as shadow


def test_scratches_are_bright_or_dark_and_cracks_are_dark():
    tones = []
    for seed in range(30):
        changed, mask = Scratches("scratch", foreground="whole")(GREY, np.random.default_rng(seed))
        tones.append(np.sign(changed[mask].mean() - 128))
        changed, _ = Scratches("crack", foreground="whole")(GREY, np.random.default_rng(seed))
        assert changed.max() <= 128
    assert 5 < tones.count(1) < 25


def test_cracks_branch():
    ends = []
    for seed in range(12):
        alpha = render((256, 256), crack((128, 128), 100.0, 1.5, np.random.default_rng(seed)))
        skeleton = np.pad(skeletonize(alpha > 0.3), 1)
        neighbours = sum(
            np.roll(skeleton, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j
        )
        ends.append(int((skeleton & (neighbours == 1)).sum()))
    assert np.mean(ends) > 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "line"}, "expected kind to be one of any, crack, scratch"),
        ({"count": (0, 3)}, "expected count"),
        ({"width": (0.1, 0.9)}, "expected width"),
        ({"contrast": (0.0, 3.0)}, "expected contrast"),
        ({"length": (0.5, 0.1)}, "expected length"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Scratches(**settings)
