"""AUPRO against a slow reference that walks every threshold, hand-computed values, invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clad.metrics.functional.aupro import aupro, region_weights
from clad.metrics.functional.auroc import auroc


def flood_fill_regions(mask):
    """Lists of pixels of each 8-connected region, by plain breadth-first search."""
    left = set(zip(*np.nonzero(mask), strict=True))
    regions = []
    while left:
        border = [left.pop()]
        region = []
        while border:
            row, column = border.pop()
            region.append((row, column))
            for step in [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                near = (row + step[0], column + step[1])
                if near in left:
                    left.remove(near)
                    border.append(near)
        regions.append(region)
    return regions


def slow_aupro(maps, masks, limit):
    """Every distinct score as a threshold, the mean overlap at each, trapezoids up to limit."""
    regions = [(i, r) for i, mask in enumerate(masks) for r in flood_fill_regions(mask)]
    fpr, pro = [0.0], [0.0]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        found = maps >= threshold
        fpr.append(found[~masks].mean())
        overlaps = [np.mean([found[(i, *pixel)] for pixel in r]) for i, r in regions]
        pro.append(float(np.mean(overlaps)))
    area = 0.0
    for i in range(1, len(fpr)):
        x0, x1, y0, y1 = fpr[i - 1], fpr[i], pro[i - 1], pro[i]
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def random_maps(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)), int(rng.integers(4, 12)), int(rng.integers(4, 12)))
    masks = rng.random(shape) < rng.uniform(0.05, 0.5)
    masks[0, 0, :2] = (True, False)
    if shape[0] > 1 and rng.random() < 0.5:
        masks[-1] = False
    maps = rng.normal(size=shape) + masks * rng.uniform(-1, 3)
    levels = int(rng.integers(0, 4))
    maps = np.round(maps * levels) / levels if levels else maps
    return maps.astype(np.float32), masks


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(25))
def test_value_equals_the_slow_reference(seed, limit):
    maps, masks = random_maps(seed)
    value = aupro(maps, masks, limit)
    assert value == pytest.approx(slow_aupro(maps, masks, limit), abs=1e-9)
    assert 0 <= value <= 1


def test_value_computed_by_hand():
    # Regions: one of 1 pixel (found at once), one of 2 pixels (half of it found at once).
    masks = np.array([[[1, 0, 1, 1, 0, 0]]])
    maps = np.array([[[9.0, 1.0, 8.0, 2.0, 3.0, 0.0]]])
    # PRO is 0.75 until the normal pixel of score 3 enters at FPR 1/3, then 1.
    assert aupro(maps, masks, limit=1 / 3) == pytest.approx(0.75)
    assert aupro(maps, masks, limit=1.0) == pytest.approx(0.75 / 3 + 2 / 3)


def test_perfect_inverted_and_constant_maps():
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[0, 2:4, 2:6] = True
    assert aupro(masks.astype(float), masks) == 1
    assert aupro(-masks.astype(float), masks) == 0
    # A constant map has the diagonal as its curve: limit^2 / 2 / limit.
    assert aupro(np.ones(masks.shape), masks, limit=0.3) == pytest.approx(0.15)


def test_every_region_counts_the_same_whatever_its_size():
    masks = np.zeros((1, 20, 20), dtype=bool)
    masks[0, :10, :10] = True
    masks[0, 15, 15] = True
    only_small = np.zeros(masks.shape)
    only_small[0, 15, 15] = 1.0
    only_large = np.where(masks, 1.0, 0.0)
    only_large[0, 15, 15] = 0.0
    assert aupro(only_small, masks) == pytest.approx(aupro(only_large, masks))


def test_regions_touch_by_corners_but_never_across_images():
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 1, 1] = True
    # Two regions: one of two pixels in the first image, one of one pixel in the second.
    np.testing.assert_allclose(region_weights(masks), [0.25, 0.25, 0.5])


def test_one_region_up_to_limit_one_is_pixel_auroc_with_the_sign_flip_complement():
    rng = np.random.default_rng(0)
    masks = np.zeros((1, 12, 12), dtype=bool)
    masks[0, 3:9, 4:7] = True
    maps = np.round(rng.normal(size=masks.shape) + masks, 1)
    assert aupro(maps, masks, limit=1.0) == pytest.approx(auroc(maps, masks), abs=1e-12)
    assert aupro(-maps, masks, limit=1.0) == pytest.approx(1 - auroc(maps, masks), abs=1e-12)


@pytest.mark.parametrize("masks", [np.zeros((1, 3, 3), bool), np.ones((1, 3, 3), bool)])
def test_no_region_or_no_background_is_undefined(masks):
    assert math.isnan(aupro(np.zeros((1, 3, 3)), masks))


def test_bad_arguments_are_refused():
    maps, masks = np.zeros((1, 3, 3)), np.zeros((1, 3, 3), dtype=bool)
    with pytest.raises(ValueError, match=r"expected limit in \(0, 1\], got 0"):
        aupro(maps, masks, limit=0)
    with pytest.raises(ValueError, match=r"maps of shape \(N, H, W\), got \(3, 3\)"):
        aupro(maps[0], masks[0])
    with pytest.raises(ValueError, match=r"masks of the shape of the scores \(1, 3, 3\)"):
        aupro(maps, masks[:, :2])
    maps[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="expected finite maps, got 1 of 9"):
        aupro(maps, masks)
