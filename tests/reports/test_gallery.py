from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from stored_runs import make_collected

from clad.reports.gallery import (
    build_gallery,
    choose_gallery,
    colour_scale,
    thresholds_of_images,
)

SCORES = np.array([0.1, 0.9, 0.5, 0.8, 0.3, 0.7, 0.2, 0.6])
LABELS = np.array([0, 1, 1, 0, 1, 1, 0, 0])


def test_worst_cases_and_best_hits_of_one_category():
    picks = choose_gallery(SCORES, LABELS, ["nut"] * 8, {"nut": 0.55}, per_category=4)
    worst = picks.rows[~picks.is_hit].tolist()
    # Lowest anomalous 4 (0.3) and 2 (0.5), then highest normal 3 (0.8) and 7 (0.6).
    assert worst == [4, 2, 3, 7]
    assert picks.rows[picks.is_hit].tolist() == [1, 5]


def test_an_anomalous_image_below_the_threshold_is_no_hit():
    picks = choose_gallery(SCORES, LABELS, ["nut"] * 8, {"nut": 0.8}, per_category=2)
    assert picks.rows[picks.is_hit].tolist() == [1]
    without = choose_gallery(SCORES, LABELS, ["nut"] * 8, None, per_category=2)
    assert without.rows[without.is_hit].tolist() == [1, 5]


def test_no_image_is_chosen_twice_and_counts_are_bounded_per_category():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=200)
    categories = rng.choice(["a", "b", "c"], size=200).tolist()
    picks = choose_gallery(rng.normal(size=200), labels, categories, None, per_category=8)
    assert len(set(picks.rows.tolist())) == len(picks.rows) == 3 * 16
    of_row = np.asarray(categories)[picks.rows]
    for name in "abc":
        assert (picks.is_hit & (of_row == name)).sum() == 8
    few = choose_gallery(SCORES[:2], LABELS[:2], ["nut"] * 2, None)
    assert sorted(few.rows.tolist()) == [0, 1]


def test_one_class_gives_what_there_is():
    picks = choose_gallery(SCORES, np.zeros(8, dtype=int), ["nut"] * 8, None, per_category=4)
    assert picks.rows.tolist() == [1, 3]
    assert not picks.is_hit.any()


def scale_of(maps, scores, thresholds):
    """The scale of stored maps."""
    low, high = np.percentile(maps, (1.0, 99.9)).tolist()
    return colour_scale(low, high, maps.max(axis=(1, 2)), scores, thresholds)


def test_middle_of_the_colour_scale_is_the_threshold_of_maximum_scores():
    rng = np.random.default_rng(0)
    maps = rng.gamma(2.0, size=(60, 16, 16)).astype(np.float32)
    scores = maps.max(axis=(1, 2)).astype(np.float64)
    threshold = float(np.median(scores))
    low, high = scale_of(maps, scores, np.full(60, threshold))
    # To the next peak at or above the threshold: that is where the verdict changes.
    assert (low + high) / 2 == pytest.approx(scores[scores >= threshold].min())
    assert low <= float(np.percentile(maps, 1)) + 1e-6
    assert high >= np.percentile(maps, 99.9)


def test_the_scale_does_not_collapse():
    maps = np.zeros((4, 8, 8), dtype=np.float32)
    low, high = scale_of(maps, np.zeros(4), np.zeros(4))
    assert low < 0 < high
    everything_quiet = scale_of(maps + np.eye(8, dtype=np.float32), np.zeros(4), np.ones(4))
    assert np.isfinite(everything_quiet).all()
    maps = np.linspace(0, 1, 256, dtype=np.float32).reshape(4, 8, 8)
    low, high = scale_of(maps, np.zeros(4), np.full(4, np.nan))
    assert (low, high) == pytest.approx((0.01, 0.999), abs=0.01)


def load_white(path, size):
    return np.full((*size, 3), 255, dtype=np.uint8)


def stored_gallery(stored, thresholds):
    """Rows, maps, masks and ends of the scale, taken when all maps are there."""
    picks = choose_gallery(stored.scores, stored.labels, stored.categories, thresholds)
    limits = thresholds_of_images(stored.categories, thresholds)
    low, high = scale_of(stored.maps, stored.scores, limits)
    height, width = stored.maps.shape[1:]
    shrink = min(1.0, 256 / max(height, width))
    shape = (round(width * shrink), round(height * shrink))
    maps, masks = [], []
    for row in picks.rows:
        small = Image.fromarray(stored.maps[row]).resize(shape, Image.Resampling.BILINEAR)
        maps.append(np.clip((np.asarray(small) - low) / (high - low), 0, 1))
        mask = Image.fromarray(stored.masks[row]).resize(shape, Image.Resampling.NEAREST)
        masks.append(np.asarray(mask))
    return picks, np.array(maps), np.array(masks), (low, high)


@pytest.mark.parametrize("side", [32, 304])
@pytest.mark.parametrize("share", [None, 0.0, 0.6, 1.1])
def test_it_is_the_gallery_that_stored_maps_would_give(side, share):
    stored = make_collected(per_category=30, seed=3, size=side)
    unknown = np.arange(60) % 7 == 0
    stored = replace(
        stored,
        has_mask=~unknown | (stored.labels == 0),
        masks=stored.masks & ~unknown[:, None, None],
        scores=np.round(stored.scores, 1),  # many are equal
    )
    limit = None if share is None else float(np.quantile(stored.scores, min(share, 1)) + share // 1)
    thresholds = None if limit is None else {"mono": limit, "poly": limit}
    gallery = build_gallery(stored.collected(), thresholds, load_white)
    picks, maps, masks, (low, high) = stored_gallery(stored, thresholds)
    np.testing.assert_array_equal(gallery.picks.rows, picks.rows)
    np.testing.assert_array_equal(gallery.picks.is_hit, picks.is_hit)
    np.testing.assert_array_equal(gallery.masks, masks)
    np.testing.assert_array_equal(gallery.has_mask, stored.has_mask[picks.rows])
    assert (gallery.images == 255).all()
    extent = high - low
    assert (gallery.map_low, gallery.map_high) == pytest.approx((low, high), abs=0.02 * extent)
    np.testing.assert_allclose(gallery.maps, maps, atol=0.02)
    on_our_scale = np.clip((maps * extent + low - gallery.map_low)
                           / (gallery.map_high - gallery.map_low), 0, 1)  # fmt: skip
    inside = (maps > 0) & (maps < 1)
    np.testing.assert_allclose(gallery.maps[inside], on_our_scale[inside], atol=5e-4)
    if max(stored.maps.shape) <= 256:
        assert gallery.maps.shape[1:] == stored.maps.shape[1:]


def test_copies_are_small_and_on_the_scale(collected):
    gallery = build_gallery(collected.collected(), None, load_white)
    assert gallery.images.shape == (len(gallery), 64, 64, 3)
    assert gallery.maps.shape == gallery.masks.shape == (len(gallery), 64, 64)
    assert gallery.maps.dtype == np.float16
    assert gallery.maps.min() >= 0
    assert gallery.maps.max() <= 1
    row, position = gallery.picks.rows[0], 0
    assert gallery.masks[position].any() == bool(collected.labels[row])


def test_image_only_heads_have_copies_without_maps(image_only):
    gallery = build_gallery(image_only.collected(), None, load_white)
    assert gallery.maps is None
    assert gallery.images.shape[1:] == (256, 256, 3)
    assert not gallery.has_mask.any()


def test_an_image_of_another_size_is_refused(collected):
    found = collected.collected()
    with pytest.raises(ValueError, match=r"uint8 of shape \(64, 64, 3\), got uint8 of shape \(2,"):
        build_gallery(found, None, lambda path, size: np.zeros((2, 2, 3), dtype=np.uint8))
