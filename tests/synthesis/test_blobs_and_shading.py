from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.blobs import Blobs, draw_dent, edge_alpha
from clad.synthesis.noise import ellipse_distance
from clad.synthesis.shading import Shading, region_alpha, streaks

GREY = np.full((128, 128, 3), 128, np.uint8)


def test_edge_alpha_is_one_inside_zero_outside_and_falls_between():
    distance = np.linspace(0, 2, 201, dtype=np.float32)
    alpha = edge_alpha(distance, 0.5)
    assert (alpha[distance <= 0.5] == 1).all()
    assert (alpha[distance >= 1] == 0).all()
    assert (np.diff(alpha) <= 0).all()
    assert alpha[75] == pytest.approx(0.5)


def test_dent_is_as_bright_on_one_side_as_dark_on_the_other():
    distance = ellipse_distance((81, 81), (40, 40), (25.0, 25.0), 0.0)
    for seed in range(5):
        levels = draw_dent(distance, 25.0, 60.0, np.random.default_rng(seed))
        assert abs(levels.mean()) < 0.05
        np.testing.assert_allclose(levels, -levels[::-1, ::-1], atol=1e-3)
        assert 20 < levels.max() < 120


def test_holes_are_flat_and_mostly_dark():
    tones = []
    for seed in range(40):
        generator = Blobs(("hole",), count=(1, 1), size=(0.2, 0.2), contrast=(40, 40))
        changed, mask = generator(GREY, np.random.default_rng(seed))
        deepest = np.median(changed[mask].astype(int)) - 128
        assert abs(deepest) == 52
        tones.append(deepest < 0)
    assert 22 < sum(tones) < 38


def test_size_bounds_the_marks():
    for size, low, high in (((0.05, 0.05), 1, 0.012), ((0.3, 0.3), 60, 0.2)):
        generator = Blobs(count=(1, 1), size=size, foreground="whole")
        for seed in range(15):
            _, mask = generator(GREY, np.random.default_rng(seed))
            assert mask.sum() > low
            assert mask.mean() < high


def test_region_alpha_is_a_weight_and_reaches_one():
    for seed in range(20):
        alpha = region_alpha((96, 128), 50.0, None, np.random.default_rng(seed))
        assert alpha.dtype == np.float32
        assert alpha.min() == 0
        assert 0.4 < alpha.max() <= 1


def test_blur_lowers_grain_and_streaks_add_it():
    grain = np.random.default_rng(0).normal(128, 25, (128, 128, 1)).clip(0, 255)
    image = np.repeat(grain, 3, axis=2).astype(np.uint8)
    for seed in range(5):
        changed, mask = Shading(("blur",), size=(0.4, 0.6))(image, np.random.default_rng(seed))
        assert changed[mask].std() < image[mask].std()
        changed, mask = Shading(("streaks",))(GREY, np.random.default_rng(seed))
        assert changed[mask].std() > 2


def test_streaks_run_along_one_axis():
    for seed in range(6):
        field = streaks((128, 128), np.random.default_rng(seed))
        along, across = sorted(np.abs(np.diff(field, axis=axis)).mean() for axis in (0, 1))
        assert across > 3 * along


def test_contrast_change_keeps_the_mean():
    image = np.random.default_rng(0).integers(100, 156, (128, 128, 3), dtype=np.uint8)
    for seed in range(6):
        changed, mask = Shading(("contrast",), size=(0.5, 0.6))(image, np.random.default_rng(seed))
        assert changed[mask].mean() == pytest.approx(image[mask].mean(), abs=4)


@pytest.mark.parametrize("maker", [Blobs, Shading])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ()}, "expected at least one kind, got none"),
        ({"kinds": ("star",)}, "expected kind to be one of .*; got 'star'"),
        ({"size": (0.5, 0.1)}, "expected size"),
        ({"contrast": (1.0, 300.0)}, "expected contrast"),
    ],
)
def test_bad_settings_are_refused(maker, settings, message):
    with pytest.raises(ValueError, match=message):
        maker(**settings)
