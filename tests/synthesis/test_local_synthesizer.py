from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.local import (
    MAX_TRIES,
    LocalSynthesizer,
    expect_interval,
    log_uniform,
    pick_centre,
)


class Scripted(LocalSynthesizer):
    """Proposes one fixed change inside one fixed region and counts how often it is asked."""

    def __init__(self, levels, region, foreground="whole"):
        super().__init__(foreground)
        self.levels, self.region, self.calls = levels, region, 0

    def propose(self, image, target, rng):
        self.calls += 1
        changed = np.clip(image.astype(int) + self.levels, 0, 255).astype(np.uint8)
        return changed, self.region


def box(rows, columns, shape=(64, 64)):
    region = np.zeros(shape, bool)
    region[rows, columns] = True
    return region


GREY = np.full((64, 64, 3), 100, np.uint8)
SQUARE = box(slice(20, 40), slice(20, 40))
GRAIN = np.random.default_rng(0).normal(128, 9, (64, 64, 1)).clip(0, 255).astype(np.uint8)


def test_good_proposal_is_taken_at_once_and_cut_to_its_region():
    generator = Scripted(30, SQUARE)
    changed, mask = generator(GREY, np.random.default_rng(0))
    assert generator.calls == 1
    np.testing.assert_array_equal(mask, SQUARE)
    assert (changed[SQUARE] == 130).all()
    assert (changed[~SQUARE] == 100).all()


def test_mask_leaves_out_what_did_not_change():
    levels = np.zeros((64, 64, 1), int)
    levels[20:30, 20:40] = 30
    _, mask = Scripted(levels, SQUARE)(GREY, np.random.default_rng(0))
    np.testing.assert_array_equal(mask, box(slice(20, 30), slice(20, 40)))


def test_small_gaps_in_the_change_are_closed():
    levels = np.full((64, 64, 1), 30)
    levels[28:31, 28:31] = 0
    _, mask = Scripted(levels, SQUARE)(GREY, np.random.default_rng(0))
    np.testing.assert_array_equal(mask, SQUARE)


def test_faint_proposal_is_drawn_again_then_amplified():
    levels = np.full((64, 64, 1), 4)
    generator = Scripted(levels, SQUARE)
    changed, mask = generator(GREY, np.random.default_rng(0))
    assert generator.calls == MAX_TRIES
    np.testing.assert_array_equal(mask, SQUARE)
    assert (changed[SQUARE] == 108).all()


@pytest.mark.parametrize(("ground", "sign"), [(0, 1), (100, 1), (160, -1), (255, -1)])
def test_unchanged_proposal_is_forced_to_show(ground, sign):
    image = np.full((64, 64, 3), ground, np.uint8)
    changed, mask = Scripted(0, SQUARE)(image, np.random.default_rng(0))
    assert mask.any()
    assert not (mask & ~SQUARE).any()
    gap = (changed.astype(int) - image)[mask]
    assert (np.sign(gap) == sign).all()
    assert np.abs(gap).mean() > 10


def test_empty_region_is_replaced_by_a_spot():
    changed, mask = Scripted(0, np.zeros((64, 64), bool))(GREY, np.random.default_rng(0))
    assert mask.sum() >= 8
    assert (changed[mask] != 100).all()


def test_moved_grain_is_not_taken_for_an_anomaly():
    image = np.repeat(GRAIN, 3, axis=2)
    moved = np.roll(GRAIN, 7, axis=0).astype(int) - GRAIN
    assert np.abs(moved)[SQUARE].mean() > 8
    generator = Scripted(moved, SQUARE)
    generator(image, np.random.default_rng(0))
    assert generator.calls == MAX_TRIES


def test_change_beside_the_object_is_refused():
    image = np.full((64, 64, 3), 230, np.uint8)
    image[30:60, 30:60] = 60
    beside, over = box(slice(2, 12), slice(2, 12)), box(slice(26, 40), slice(26, 40))
    generator = Scripted(-40, beside, foreground="auto")
    _, mask = generator(image, np.random.default_rng(0))
    assert generator.calls == MAX_TRIES
    assert mask[30:60, 30:60].any()
    assert not mask[:26, :26].any()
    taken = Scripted(-40, over, foreground="auto")
    taken(image, np.random.default_rng(0))
    assert taken.calls == 1
    anywhere = Scripted(-40, beside, foreground="whole")
    _, mask = anywhere(image, np.random.default_rng(0))
    np.testing.assert_array_equal(mask, beside)


def test_unknown_foreground_mode_is_refused():
    with pytest.raises(ValueError, match="expected foreground to be one of auto, whole; got 'car'"):
        Scripted(0, SQUARE, foreground="car")


@pytest.mark.parametrize("pair", [(0.5, 0.2), (-0.1, 0.2), (0.1, 2.0), (0.1,), (float("nan"), 0.5)])
def test_bad_intervals_are_refused(pair):
    with pytest.raises(ValueError, match=r"expected area to be \(smallest, largest\) within"):
        expect_interval("area", pair, 0.0, 1.0)


def test_log_uniform_gives_each_octave_its_share():
    rng = np.random.default_rng(0)
    draws = np.array([log_uniform(rng, (1.0, 16.0)) for _ in range(4000)])
    counts, _ = np.histogram(np.log2(draws), bins=[0, 1, 2, 3, 4])
    assert counts.sum() == 4000
    np.testing.assert_allclose(counts / 4000, 0.25, atol=0.03)


def test_centres_lie_on_the_object_and_reach_all_of_it():
    target = box(slice(10, 12), slice(50, 52), (30, 60))
    rng = np.random.default_rng(0)
    seen = {pick_centre(target.shape, target, rng) for _ in range(100)}
    assert seen == {(10, 50), (10, 51), (11, 50), (11, 51)}
    rows, columns = zip(*(pick_centre((30, 60), None, rng) for _ in range(3000)), strict=True)
    assert (min(rows), max(rows), min(columns), max(columns)) == (0, 29, 0, 59)
