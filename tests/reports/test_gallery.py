from __future__ import annotations

import numpy as np
import pytest

from clad.reports.gallery import build_gallery, choose_gallery, colour_scale

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


def test_middle_of_the_colour_scale_is_the_threshold_of_maximum_scores():
    rng = np.random.default_rng(0)
    maps = rng.gamma(2.0, size=(60, 16, 16)).astype(np.float32)
    scores = maps.max(axis=(1, 2)).astype(np.float64)
    threshold = float(np.median(scores))
    low, high = colour_scale(maps, scores, np.full(60, threshold))
    # To the next peak at or above the threshold: that is where the verdict changes.
    assert (low + high) / 2 == pytest.approx(scores[scores >= threshold].min())
    assert low <= np.percentile(maps, 1)
    assert high >= np.percentile(maps, 99.9)


def test_the_scale_does_not_collapse():
    maps = np.zeros((4, 8, 8), dtype=np.float32)
    low, high = colour_scale(maps, np.zeros(4), np.zeros(4))
    assert low < 0 < high
    everything_quiet = colour_scale(maps + np.eye(8, dtype=np.float32), np.zeros(4), np.ones(4))
    assert np.isfinite(everything_quiet).all()
    low, high = colour_scale(np.linspace(0, 1, 256, dtype=np.float32).reshape(4, 8, 8),
                             np.zeros(4), np.full(4, np.nan))  # fmt: skip
    assert (low, high) == pytest.approx((0.01, 0.999), abs=0.01)


def test_copies_are_small_and_on_the_scale(collected):
    def load(path, size):
        return np.full((*size, 3), 7, dtype=np.uint8)

    gallery = build_gallery(collected, None, load, per_category=2, max_side_px=32)
    assert gallery.images.shape == (len(gallery), 32, 32, 3)
    assert gallery.maps.shape == gallery.masks.shape == (len(gallery), 32, 32)
    assert gallery.maps.dtype == np.float16
    assert gallery.maps.min() >= 0
    assert gallery.maps.max() <= 1
    row, position = gallery.picks.rows[0], 0
    assert gallery.masks[position].any() == bool(collected.labels[row])
    raw = gallery.maps[position].astype(float) * (gallery.map_high - gallery.map_low)
    small = collected.maps[row].reshape(32, 2, 32, 2).mean(axis=(1, 3))
    inside = (small > gallery.map_low) & (small < gallery.map_high)
    np.testing.assert_allclose((raw + gallery.map_low)[inside], small[inside], atol=0.3)


def test_image_only_heads_have_copies_without_maps(image_only):
    def load(path, size):
        return np.zeros((*size, 3), dtype=np.uint8)

    gallery = build_gallery(image_only, None, load, max_side_px=48)
    assert gallery.maps is None
    assert gallery.images.shape[1:] == (48, 48, 3)
    assert not gallery.has_mask.any()


def test_an_image_of_another_size_is_refused(collected):
    with pytest.raises(ValueError, match=r"uint8 of shape \(64, 64, 3\), got uint8 of shape \(2,"):
        build_gallery(collected, None, lambda path, size: np.zeros((2, 2, 3), dtype=np.uint8))
