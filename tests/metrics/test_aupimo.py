"""AUPIMO beside its definition, threshold by threshold, and beside anomalib's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from clad.metrics.functional.aupimo import aupimo, aupimo_scores
from clad.metrics.functional.binned import BinnedRanking, binned_aupimo

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]
WIDE = (1e-2, 1e-1)


def _inputs(seed: int, side: int = 20, size: int = 8, ties: bool = False) -> tuple[Maps, Masks]:
    generator = np.random.default_rng(seed)
    masks = np.zeros((size, side, side), dtype=bool)
    for mask in masks[size // 2 :]:
        top, left = generator.integers(0, side // 2, 2)
        height, width = generator.integers(2, side // 2, 2)
        mask[top : top + height, left : left + width] = True
    maps = generator.normal(size=masks.shape) + 2 * masks
    return (np.round(maps, 1) if ties else maps).astype(np.float32), masks


def _by_steps(maps: Maps, masks: Masks, bounds: tuple[float, float]) -> list[float]:
    """For each false positive rate of a fine grid: the lowest threshold that keeps to it."""
    has_defect = masks.any(axis=(1, 2))
    normal = np.sort(maps[~has_defect].reshape(-1))[::-1]
    rates = np.exp(np.linspace(*np.log(bounds), 2_001))
    # The threshold lies just above the first normal score that would be one too many.
    thresholds = normal[np.floor(rates * len(normal) + 1e-9).astype(int)]
    found = []
    for values, mask in zip(maps, masks, strict=True):
        own = values[mask]
        share = [(own > each).mean() if len(own) else math.nan for each in thresholds]
        found.append(float(np.mean(share)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_mean_over_thresholds(seed: int):
    maps, masks = _inputs(seed)
    expected = _by_steps(maps, masks, WIDE)
    assert aupimo_scores(maps, masks, WIDE) == pytest.approx(expected, abs=1e-3, nan_ok=True)
    assert np.isnan(aupimo_scores(maps, masks, WIDE)[:4]).all()
    assert aupimo(maps, masks, WIDE) == pytest.approx(np.nanmean(expected), abs=1e-3)


def test_by_hand():
    # Ten normal pixels 0.0 to 0.9; bounds 0.1 to 1 span one decade.
    maps = np.zeros((2, 1, 10), np.float32)
    maps[0, 0] = np.arange(10) / 10
    masks = np.zeros(maps.shape, dtype=bool)
    masks[1, 0, :4] = True
    # Above all normal ones; above all but 1; above all but 5; below all.
    maps[1, 0, :4] = [0.95, 0.85, 0.45, -1]
    expected = (1 + 1 + math.log10(1 / 0.5) + 0) / 4
    assert aupimo_scores(maps, masks, (0.1, 1.0))[1] == pytest.approx(expected)


def test_a_tie_with_normal_pixels_counts_half_of_its_way():
    maps = np.zeros((2, 1, 10), np.float32)
    maps[0, 0, 0] = 1
    masks = np.zeros(maps.shape, dtype=bool)
    masks[1, 0, 0] = True
    # Found between 1/10 and 10/10 of the normal pixels, which is the whole range.
    assert aupimo_scores(maps, masks, (0.1, 1.0))[1] == pytest.approx(0.5)


def test_bins_of_one_number_are_exact():
    maps, masks = _inputs(1, ties=True)
    has_defect = masks.any(axis=(1, 2))
    levels, place = np.unique(maps, return_inverse=True)
    place = place.reshape(maps.shape)
    normal = np.bincount(place[~has_defect].reshape(-1), minlength=len(levels))
    anomalous = np.bincount(place[masks], minlength=len(levels))
    sizes = np.broadcast_to(masks.sum(axis=(1, 2), keepdims=True), masks.shape)
    weight = np.bincount(place[masks], 1 / sizes[masks], minlength=len(levels))
    columns = (each[::-1].astype(float) for each in (normal, anomalous, weight))
    ranking = BinnedRanking(*columns, np.ones(len(levels), dtype=bool))
    assert binned_aupimo(ranking, WIDE) == pytest.approx(aupimo(maps, masks, WIDE), abs=1e-12)


def test_only_the_scores_of_normal_images_and_of_defects_matter():
    maps, masks = _inputs(2)
    other = np.where(masks.any(axis=(1, 2), keepdims=True) & ~masks, np.float32(99), maps)
    assert np.array_equal(
        aupimo_scores(other, masks, WIDE), aupimo_scores(maps, masks, WIDE), equal_nan=True
    )


def test_undefined_without_normal_images_or_with_too_few_pixels():
    maps, masks = _inputs(0)
    assert math.isnan(aupimo(maps[4:], masks[4:], WIDE))
    assert math.isnan(aupimo(maps[:4], masks[:4], WIDE))
    assert math.isnan(aupimo(maps, masks))


@pytest.mark.parametrize("bounds", [(0, 0.1), (0.1, 0.1), (0.1, 2)])
def test_bounds_that_are_none(bounds: tuple[float, float]):
    with pytest.raises(ValueError, match=r"expected bounds 0 < low < high <= 1, got"):
        aupimo_scores(*_inputs(0), bounds)


def test_maps_of_another_shape():
    with pytest.raises(ValueError, match=r"expected maps of shape \(N, H, W\), got \(2, 2\)"):
        aupimo_scores(np.zeros((2, 2)), np.zeros((2, 2)))


@pytest.mark.slow
def test_close_to_anomalib():
    torch = pytest.importorskip("torch")
    from anomalib.metrics.pimo.pimo import _AUPIMO

    maps, masks = _inputs(0, side=100, size=20)
    theirs = _AUPIMO(num_thresholds=30_000, fpr_bounds=(1e-3, 1e-2), return_average=False)
    theirs.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
    _, result = theirs.compute()
    # They take the points nearest to the bounds and equal steps of score.
    expected = result.aupimos.numpy()
    ours = aupimo_scores(maps, masks, (1e-3, 1e-2))
    assert ours == pytest.approx(expected, abs=5e-3, nan_ok=True)
