from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.structural import KINDS, Structural, bend, remove, swap

RNG = np.random.default_rng(0)
ROWS, COLUMNS = np.mgrid[:100, :140]
PLACES = np.stack([ROWS, COLUMNS, ROWS * 0], axis=2).astype(np.uint8)


def test_swap_exchanges_two_windows_and_keeps_all_pixels():
    changed, region = swap(PLACES, (20, 30), 8.0, (70, 100), np.random.default_rng(0))
    before, after = (
        np.sort(a.reshape(-1, 3).astype(int) @ [1000, 1, 0]) for a in (PLACES, changed)
    )
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(changed[20, 30], PLACES[70, 100])
    np.testing.assert_array_equal(changed[70, 100], PLACES[20, 30])
    np.testing.assert_array_equal(changed[~region], PLACES[~region])


def test_removed_part_lies_between_the_tones_of_its_border():
    image = RNG.integers(100, 140, (100, 140, 3), dtype=np.uint8)
    image[45:55, 65:75] = 255
    changed, region = remove(image, (50, 70), 15.0, np.random.default_rng(0))
    assert region[45:55, 65:75].all()
    assert changed[region].max() < 160
    np.testing.assert_array_equal(changed[~region], image[~region])


def test_bend_moves_the_middle_and_fades_out():
    changed, region = bend(PLACES, (50, 70), 20.0, np.random.default_rng(3))
    moved = changed[50, 70, :2].astype(int) - (50, 70)
    assert 3 <= np.hypot(*moved) <= 13
    np.testing.assert_array_equal(changed[~region], PLACES[~region])
    assert np.hypot(*(changed[50, 52, :2].astype(int) - (50, 52))) < 1.5


@pytest.mark.parametrize("kind", ["shift", "turn", "mirror"])
def test_moved_parts_stem_from_nearby(kind):
    generator = Structural((kind,), size=(0.3, 0.3), foreground="whole")
    for seed in range(10):
        changed, mask = generator(PLACES, np.random.default_rng(seed))
        travel = np.hypot(changed[..., 0] - ROWS, changed[..., 1] - COLUMNS)[mask]
        assert travel.max() < 80
        assert np.median(travel) > 3
        if kind == "shift":
            assert np.ptp(travel) < 60


def test_every_kind_is_drawn():
    image = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in KINDS:
        _, mask = Structural((kind,))(image, np.random.default_rng(0))
        assert mask.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ()}, "expected at least one kind, got none"),
        (
            {"kinds": ("melt",)},
            "expected kind to be one of bend, mirror, remove, shift, swap, turn",
        ),
        ({"size": (0.001, 0.2)}, "expected size"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Structural(**settings)
