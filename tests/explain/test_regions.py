"""Connected areas of maps: values read off by hand, and an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import measure

from clad.explain.regions import find_regions, half_maximum, hot_regions, hottest_area
from clad.types import Region


def two_spots() -> np.ndarray:
    """A hot spot of three pixels (one joined by its corner) and a larger, cooler one."""
    values = np.zeros((6, 8), dtype=np.float32)
    values[1, 1], values[1, 2], values[2, 3] = 4, 10, 6
    values[3:6, 5:8] = 8
    return values


def test_half_maximum_lies_between_median_and_maximum() -> None:
    assert half_maximum(np.array([[1.0, 1.0, 1.0, 9.0]])) == 5.0
    assert half_maximum(two_spots()) == 5.0
    assert np.isnan(half_maximum(np.full((3, 3), 2.0)))


def test_regions_are_boxes_areas_and_peaks_hottest_first() -> None:
    assert (
        hot_regions(two_spots())
        == find_regions(two_spots(), 5.0)
        == (
            Region((1, 2, 3, 4), 2, 10.0),
            Region((3, 5, 6, 8), 9, 8.0),
        )
    )
    assert find_regions(two_spots(), 4.0)[0] == Region((1, 1, 3, 4), 3, 10.0)


def test_equal_peaks_come_by_size_then_place() -> None:
    values = np.zeros((3, 7))
    values[0, 0] = values[0, 2] = values[0, 4:6] = 1
    assert [region.box for region in find_regions(values, 1.0)] == [
        (0, 4, 1, 6),
        (0, 0, 1, 1),
        (0, 2, 1, 3),
    ]


def test_boxes_at_image_size_cover_every_pixel_that_is_touched() -> None:
    values = np.zeros((4, 3), dtype=np.float32)
    values[1, 1] = 1
    (region,) = find_regions(values, 0.5, (10, 10))
    # Row 1 of 4 covers 2.5 to 5 of 10 pixels, column 1 of 3 covers 3.33 to 6.67.
    assert region.box == (2, 3, 5, 7)
    assert region.area_px == round(10 / 4 * 10 / 3)


def test_nothing_is_found_in_a_flat_map_or_above_the_maximum() -> None:
    flat = np.full((4, 4), 3.0)
    assert hot_regions(flat) == find_regions(flat, half_maximum(flat)) == ()
    assert find_regions(flat, 3.1) == ()
    assert len(find_regions(flat, 3.0)) == 1


def test_regions_agree_with_scikit_image() -> None:
    values = np.random.default_rng(3).random((40, 50))
    level = 0.7
    labelled = measure.label(values >= level, connectivity=2)
    expected = {
        (p.bbox, int(p.area), float(p.intensity_max))
        for p in measure.regionprops(labelled, intensity_image=values)
    }
    found = find_regions(values, level)
    assert {(region.box, region.area_px, region.score) for region in found} == expected
    scores = [region.score for region in found]
    assert scores == sorted(scores, reverse=True)


def test_hottest_area_is_the_one_around_the_maximum() -> None:
    area = hottest_area(two_spots())
    assert np.argwhere(area).tolist() == [[1, 2], [2, 3]]
    turned = hottest_area(two_spots()[::-1])
    assert np.argwhere(turned).tolist() == [[3, 3], [4, 2]], "now it is not the first area"
    assert hottest_area(np.zeros((2, 3))).all(), "a flat map has no hotter place"


@pytest.mark.parametrize("scale", [1e-3, 7.0])
def test_gain_and_offset_do_not_move_regions(scale: float) -> None:
    values = np.random.default_rng(0).random((16, 16))
    changed = values * scale - 3
    boxes = [region.box for region in find_regions(values, half_maximum(values))]
    assert [r.box for r in find_regions(changed, half_maximum(changed))] == boxes
