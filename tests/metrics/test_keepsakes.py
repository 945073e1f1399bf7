from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clad.metrics.keepsakes import MAX_SIDE_PX, PER_CATEGORY, Keepsakes
from clad.reports.gallery import choose_gallery


def fed(scores, labels, categories, maps=None, masks=None, batch_sizes=(5, 1, 11)):
    """Keepsakes of images that came in batches of these sizes in turn."""
    size = len(scores)
    maps = np.zeros((size, 6, 6), np.float32) if maps is None else maps
    masks = np.zeros(maps.shape, bool) if masks is None else masks
    keepsakes, start, turn = Keepsakes(), 0, 0
    while start < size:
        end = start + batch_sizes[turn % len(batch_sizes)]
        part = slice(start, end)
        known = np.ones(len(labels[part]), bool)
        batch = (scores[part], labels[part], categories[part], maps[part], masks[part], known)
        keepsakes.update(*batch)
        start, turn = end, turn + 1
    return keepsakes


@pytest.mark.parametrize("num_scores", [1, 3, 20, 10**6])
@pytest.mark.parametrize("size", [3, 15, 200])
def test_whatever_the_gallery_picks_was_kept_ties_or_not(num_scores, size):
    rng = np.random.default_rng(size)
    for anomalous in (0.0, 0.3, 1.0):
        scores = rng.integers(0, num_scores, size).astype(float)
        labels = (rng.random(size) < anomalous).astype(np.int64)
        categories = rng.choice(["a", "b"], size).tolist()
        kept = fed(scores, labels, categories).by_row()
        for limit in (None, -1.0, num_scores / 2, num_scores + 1.0):
            thresholds = None if limit is None else {"a": limit, "b": limit / 2}
            picks = choose_gallery(scores, labels, categories, thresholds)
            assert set(picks.rows.tolist()) <= set(kept)
        for row, each in kept.items():
            assert (each.row, each.score, each.label) == (row, scores[row], labels[row])


def test_few_are_kept_however_many_come():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 5000)
    kept = fed(rng.random(5000), labels, ["a"] * 5000, batch_sizes=(32,)).by_row()
    assert len(kept) == 2 * PER_CATEGORY + PER_CATEGORY // 2
    assert len(fed(np.sort(rng.random(5000)), labels, ["a"] * 5000).by_row()) == len(kept)


@pytest.mark.parametrize(
    ("side", "expected"),
    [((300, 600), (128, 256)), ((256, 256), (256, 256)), ((40, 20), (40, 20))],
)
def test_copies_are_what_resizing_the_stored_ones_gives(side, expected):
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(4, *side)).astype(np.float32)
    masks = rng.random((4, *side)) < 0.3
    keepsakes = fed(np.arange(4.0), np.array([0, 1, 0, 1]), ["a"] * 4, maps, masks)
    assert keepsakes.size == expected
    assert max(keepsakes.size) <= MAX_SIDE_PX
    np.testing.assert_array_equal(keepsakes.peaks, maps.max(axis=(1, 2)))
    for row, kept in keepsakes.by_row().items():
        shape = expected[::-1]
        small = Image.fromarray(maps[row]).resize(shape, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(kept.small_map, np.asarray(small))
        mask = Image.fromarray(masks[row]).resize(shape, Image.Resampling.NEAREST)
        np.testing.assert_array_equal(kept.small_mask, np.asarray(mask))


def test_maps_of_two_sizes_are_refused():
    keepsakes = fed(np.zeros(1), np.zeros(1, int), ["a"])
    other = fed(np.zeros(1), np.zeros(1, int), ["a"], np.zeros((1, 6, 7), np.float32))
    with pytest.raises(ValueError, match=r"maps of one size, got \(6, 6\) and \(6, 7\)"):
        keepsakes.merge(other)
