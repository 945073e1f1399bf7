"""The published 200-threshold AUPRO against its own steps, one by one, and beside the exact one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure

from clad.metrics.functional.aupro import aupro
from clad.metrics.functional.aupro_thresholds import aupro_thresholds

RECORDED = {0.5: -0.00449, 2.0: -0.00965, 5.0: -0.00311}
"""Published less exact, by contrast of ``smooth_maps(7)``."""


def literal(maps, masks, limit=0.3, num_thresholds=200):
    """Threshold by threshold, region by region, as the published code is described."""
    low, high = maps.min(), maps.max()
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / num_thresholds):
        found = maps > threshold
        per_region = [
            found[n][tuple(region.coords.T)].sum() / region.area
            for n, mask in enumerate(masks)
            for region in measure.regionprops(measure.label(mask.astype(int)))
        ]
        overlaps.append(np.mean(per_region))
        rates.append(found[~masks].sum() / (~masks).sum())
    rates, overlaps = np.array(rates), np.array(overlaps)
    kept = rates < limit
    rates, overlaps = rates[kept], overlaps[kept]
    rates = (rates - rates.min()) / (rates.max() - rates.min())
    return -np.trapezoid(overlaps, rates)


def smooth_maps(seed, shape=(4, 32, 32), contrast=2.0):
    """Blurred noise that is larger where the masks are, as detectors give it."""
    rng = np.random.default_rng(seed)
    masks = ndimage.gaussian_filter(rng.normal(size=shape), (0, 2, 2)) > 0.25
    masks[0] = False
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, 1, 1))
    signal = ndimage.gaussian_filter(masks.astype(float), (0, 1, 1))
    return noise + contrast * noise.std() * signal, masks


@pytest.mark.parametrize("limit", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_value_equals_the_published_steps(seed, limit):
    maps, masks = smooth_maps(seed)
    expected = literal(maps, masks, limit, 50)
    assert aupro_thresholds(maps, masks, limit, 50) == pytest.approx(expected, abs=1e-9)


def test_value_computed_by_hand():
    """Scores 0 to 4 with four steps: thresholds 0, 1, 2, 3."""
    maps = np.array([[[4.0, 2.0, 3.0, 1.0, 0.0]]])
    masks = np.array([[[1, 1, 0, 0, 0]]])
    # Above 0: overlap 1, rate 2/3. Above 1: 1, 1/3. Above 2: 1/2, 1/3. Above 3: 1/2, 0.
    # Rates below 0.5 stretched by 3: an area from (0, 1/2) to (1, 1/2), then straight up.
    assert aupro_thresholds(maps, masks, 0.5, 4) == pytest.approx(0.5)
    # Of all rates (2/3 is the largest): 1/2 up to the middle, 1 after it.
    assert aupro_thresholds(maps, masks, 1.0, 4) == pytest.approx(0.75)


def test_difference_from_the_exact_integral_is_recorded():
    """On these maps with seed 7, at contrasts from poor to good."""
    found = {}
    for contrast in (0.5, 2.0, 5.0):
        maps, masks = smooth_maps(7, contrast=contrast)
        found[contrast] = aupro_thresholds(maps, masks) - aupro(maps, masks)
    assert found == pytest.approx(RECORDED, abs=5e-5)


def test_few_outliers_coarsen_it_and_leave_the_exact_one_alone():
    """Steps are between the extremes: one pixel far out leaves few for all others."""
    maps, masks = smooth_maps(3)
    spread = maps.copy()
    spread[1][masks[1]] += np.where(np.arange(masks[1].sum()) == 0, 1e3, 0)
    assert abs(aupro(spread, masks) - aupro(maps, masks)) < 0.01
    assert math.isnan(aupro_thresholds(spread, masks))


@pytest.mark.parametrize(
    ("maps", "masks"),
    [
        (np.zeros((1, 3, 3)), np.eye(3, dtype=bool)[None]),
        (np.arange(9.0).reshape(1, 3, 3), np.zeros((1, 3, 3), bool)),
        (np.arange(9.0).reshape(1, 3, 3), np.ones((1, 3, 3), bool)),
    ],
    ids=["constant", "no region", "no background"],
)
def test_undefined_is_nan(maps, masks):
    assert math.isnan(aupro_thresholds(maps, masks))


def test_bad_arguments_are_refused():
    maps, masks = np.zeros((1, 3, 3)), np.zeros((1, 3, 3), dtype=bool)
    with pytest.raises(ValueError, match=r"expected limit in \(0, 1\], got 2"):
        aupro_thresholds(maps, masks, limit=2)
    with pytest.raises(ValueError, match="expected num_thresholds of at least 2, got 1"):
        aupro_thresholds(maps, masks, num_thresholds=1)
    with pytest.raises(ValueError, match=r"maps of shape \(N, H, W\), got \(3, 3\)"):
        aupro_thresholds(maps[0], masks[0])
