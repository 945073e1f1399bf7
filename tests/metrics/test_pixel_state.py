"""Pixel metrics from a histogram beside the exact ones, on easy and on nasty maps."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from clad.metrics.functional.aupimo import aupimo
from clad.metrics.functional.aupro import aupro, aupro_of, region_weights
from clad.metrics.functional.aupro_thresholds import aupro_thresholds
from clad.metrics.functional.auroc import auroc_of
from clad.metrics.functional.average_precision import average_precision_of
from clad.metrics.functional.eer import equal_error_rate_of, false_alarms_at_recall_of
from clad.metrics.functional.f1_max import f1_max_of
from clad.metrics.functional.ranking import rank
from clad.metrics.pixel_state import PIXEL_METRICS, PixelState

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]

NUM_IMAGES, NUM_NORMAL, SIDE = 24, 8, 96
AREAS = ("pixel_auroc", "pixel_ap", "pixel_aupro")


def _inputs() -> tuple[Maps, Masks]:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(NUM_IMAGES, SIDE, SIDE))
    maps = np.stack([gaussian_filter(each, 3) for each in noise]) * 12
    masks = np.zeros(maps.shape, dtype=bool)
    for mask in masks[NUM_NORMAL:]:
        for _ in range(generator.integers(1, 4)):
            (top, left), (height, width) = (
                generator.integers(0, 60, 2),
                generator.integers(3, 60, 2),
            )
            mask[top : top + height, left : left + width] = True
    maps[masks] += 0.8
    order = generator.permutation(NUM_IMAGES)
    return maps[order].astype(np.float32), masks[order]


MAPS, MASKS = _inputs()
STEPS = np.arange(NUM_IMAGES)[:, None, None]
ODD_ONE = np.zeros(MAPS.shape, dtype=bool)
ODD_ONE[3, 40, 7] = True

CASES = {
    "smooth": MAPS,
    "sigmoid": expit(MAPS),
    "saturated": expit(20 * MAPS),
    "skewed to zero": np.exp(6 * MAPS - 20),
    "heavy tails": MAPS**5,
    "tight": 0.5 + MAPS * 1e-6,
    "tighter": 0.5 + MAPS * 1e-7,
    "two clusters": np.where(MAPS > 0.5, 0.9, 0.1) + MAPS * 1e-6,
    "outliers": np.where(np.random.default_rng(1).random(MAPS.shape) < 1e-5, 1e30, MAPS),
    "clipped": np.clip(MAPS, -0.2, 0.2),
    "rectified": np.maximum(MAPS, 0),
    "eight bits": np.round(MAPS * 20),
    "constant": np.full_like(MAPS, 0.3),
    "perfect": MASKS,
    "inverted": -MAPS,
    "rising": MAPS + STEPS,
    "falling": MAPS - STEPS,
    "widening": MAPS * (STEPS + 1),
    "narrowing": MAPS / (STEPS**2 + 1),
    "next number": np.where(MASKS, np.nextafter(MAPS, np.float32(9)), MAPS),
    "no order": np.random.default_rng(2).random(MAPS.shape),
}


def _exact(maps: Maps, masks: Masks) -> dict[str, float]:
    ranking = rank(maps, masks)
    values = (
        auroc_of(ranking),
        average_precision_of(ranking),
        f1_max_of(ranking),
        aupro_of(ranking, region_weights(masks)),
        equal_error_rate_of(ranking),
        false_alarms_at_recall_of(ranking),
    )
    return dict(zip(PIXEL_METRICS, values, strict=True))


def _state(maps: Maps, masks: Masks, batch: int = 1, **options: object) -> PixelState:
    state = PixelState(**options)  # type: ignore[arg-type]
    for start in range(0, len(maps), batch):
        state.update(maps[start : start + batch], masks[start : start + batch])
    return state


def _values(maps: Maps, masks: Masks, batch: int = 1, **options: object) -> dict[str, float]:
    values, reasons = _state(maps, masks, batch, **options).metrics()
    assert not reasons
    return values


EXACT = {case: _exact(maps.astype(np.float32), MASKS) for case, maps in CASES.items()}
ONE_ITEM = 1 / MASKS.sum()


@pytest.mark.parametrize("case", CASES)
def test_areas_are_those_of_the_exact_metrics(case: str):
    found = _values(CASES[case].astype(np.float32), MASKS)
    for name in AREAS:
        assert found[name] == pytest.approx(EXACT[case][name], abs=1e-5), name
    for name in set(PIXEL_METRICS) - set(AREAS):
        assert found[name] == pytest.approx(EXACT[case][name], abs=5 * ONE_ITEM), name


@pytest.mark.parametrize("case", CASES)
def test_with_more_bins_all_are_the_exact_ones_to_one_pixel(case: str):
    found = _values(CASES[case].astype(np.float32), MASKS, batch=8, num_bins=65_536)
    for name in PIXEL_METRICS:
        close = 1e-5 if name in AREAS else max(1e-5, ONE_ITEM)
        assert found[name] == pytest.approx(EXACT[case][name], abs=close), name


def test_one_anomalous_pixel():
    found = _values(MAPS, ODD_ONE)
    expected = _exact(MAPS, ODD_ONE)
    for name in ("pixel_auroc", "pixel_aupro", "pixel_eer", "pixel_false_alarms_at_95_recall"):
        assert found[name] == pytest.approx(expected[name], abs=5e-4)
    assert found["pixel_aupro"] == pytest.approx(aupro(MAPS, ODD_ONE), abs=5e-4)


def test_every_metric_lies_between_0_and_1():
    generator = np.random.default_rng(5)
    for _ in range(10):
        shape = (int(generator.integers(1, 4)), 7, 9)
        maps = generator.normal(size=shape).astype(np.float32).round(int(generator.integers(0, 4)))
        masks = generator.random(shape) < generator.choice([0.01, 0.5, 0.99])
        masks.reshape(-1)[:2] = [True, False]
        values = _values(maps, masks)
        assert tuple(values) == PIXEL_METRICS
        assert all(0 <= value <= 1 for value in values.values()), values


def test_a_constant_map():
    values = _values(np.full((2, 8, 8), 0.3, np.float32), MASKS[:2, :8, :8] | np.eye(8, dtype=bool))
    assert values["pixel_auroc"] == 0.5
    assert values["pixel_eer"] == 0.5
    assert values["pixel_aupro"] == pytest.approx(0.15)
    assert values["pixel_false_alarms_at_95_recall"] == 1


def test_what_is_missing_is_said():
    nothing, reasons = _state(MAPS[:2], np.zeros_like(MASKS[:2])).metrics()
    assert np.isnan(list(nothing.values())).all()
    assert reasons == dict.fromkeys(PIXEL_METRICS, "no anomalous pixel")
    _, reasons = _state(MAPS[:2], np.ones_like(MASKS[:2])).metrics()
    assert reasons == dict.fromkeys(PIXEL_METRICS, "no normal pixel")
    _, reasons = PixelState().metrics()
    assert reasons == dict.fromkeys(PIXEL_METRICS, "no anomalous pixel")


def test_the_order_within_bins_is_a_bound_that_warns():
    assert _state(MAPS, MASKS).auroc_uncertainty < 3e-4
    few = _state(MAPS, MASKS, num_bins=256)
    assert few.auroc_uncertainty > 1e-3
    with pytest.warns(UserWarning, match=r"could be off by 0.00\d.*raise model.metrics.num_bins"):
        few.metrics()


def test_the_other_way_round_auroc_is_what_is_missing_to_1():
    forth, back = _values(MAPS, MASKS), _values(-MAPS, MASKS)
    assert forth["pixel_auroc"] + back["pixel_auroc"] == pytest.approx(1, abs=5e-6)


def test_a_rising_function_of_scores_changes_nothing():
    plain = _values(MAPS, MASKS, num_bins=65_536, batch=8)
    for changed in (np.exp(MAPS), 3 * MAPS - 7):
        values = _values(changed.astype(np.float32), MASKS, num_bins=65_536, batch=8)
        for name in AREAS:
            assert values[name] == pytest.approx(plain[name], abs=2e-6), name


@pytest.mark.parametrize("how", ["shuffled", "sorted", "batches of 7", "at once"])
def test_neither_order_nor_batches_matter(how: str):
    order = {
        "shuffled": np.random.default_rng(3).permutation(NUM_IMAGES),
        "sorted": np.argsort(MAPS.mean(axis=(1, 2))),
    }.get(how, np.arange(NUM_IMAGES))
    batch = {"batches of 7": 7, "at once": NUM_IMAGES}.get(how, 8)
    values = _values(MAPS[order], MASKS[order], batch, num_bins=65_536)
    plain = _values(MAPS, MASKS, 6, num_bins=65_536)
    for name in AREAS:
        assert values[name] == pytest.approx(plain[name], abs=2e-6), name


def test_parts_add_up_to_the_whole():
    whole = _values(MAPS, MASKS, 8, num_bins=65_536)
    parts = [_state(MAPS[k::3], MASKS[k::3], 8, num_bins=16_384) for k in range(3)]

    def added(order: tuple[int, ...]) -> dict[str, float]:
        total = PixelState(65_536)
        for place in order:
            total.merge(pickle.loads(pickle.dumps(parts[place])))
        return total.metrics()[0]

    first = added((0, 1, 2))
    for order in ((1, 2, 0), (2, 1, 0)):
        assert added(order) == pytest.approx(first, abs=1e-9)
    for name in AREAS:
        assert first[name] == pytest.approx(whole[name], abs=5e-6), name


def test_halves_with_the_same_bins_add_up_to_the_last_digits():
    maps, masks = np.clip(np.round(MAPS * 5), -8, 8), MASKS
    whole = _state(maps, masks, 4)
    first, second = _state(maps[:12], masks[:12], 4), _state(maps[12:], masks[12:], 4)
    assert whole.scores.ranking().is_single.all()
    first.merge(second)
    assert first.num_regions == whole.num_regions
    assert first.metrics()[0] == pytest.approx(whole.metrics()[0], abs=1e-9)


def test_it_does_not_grow_with_the_images():
    state = PixelState()
    sizes = []
    for _ in range(3):
        for start in range(0, NUM_IMAGES, 8):
            state.update(MAPS[start : start + 8], MASKS[start : start + 8])
        sizes.append(state.num_bytes)
    assert max(sizes) <= 28 * 8192
    assert len(pickle.dumps(state)) < 1.1 * sizes[-1] + 2000


def test_regions_are_counted():
    masks = np.zeros((2, 6, 6), dtype=bool)
    masks[0, :2, :2] = masks[0, 2, 2] = masks[0, 5, 0] = masks[1, 3] = True
    state = PixelState()
    state.update(np.zeros(masks.shape, np.float32), masks)
    assert state.num_regions == 3
    assert state.scores.totals[2] == pytest.approx(3)


def test_the_curve_has_the_area():
    state = _state(MAPS, MASKS, 6)
    rate, overlap = state.pro_curve()
    assert rate[0] == overlap[0] == 0
    assert rate[-1] == 0.3
    assert (np.diff(rate) >= 0).all()
    assert (np.diff(overlap) >= 0).all()
    area = np.trapezoid(overlap, rate) / 0.3
    assert area == pytest.approx(state.metrics()[0]["pixel_aupro"], abs=1e-9)
    assert PixelState().pro_curve()[0].size == 0


@pytest.mark.parametrize("case", ["smooth", "sigmoid", "eight bits", "skewed to zero"])
def test_published_pro_is_that_of_its_own_definition(case: str):
    maps = CASES[case].astype(np.float32)
    values = _values(maps, MASKS, 6, published_pro=True)
    assert tuple(values) == (*PIXEL_METRICS, "pixel_aupro_200")
    assert values["pixel_aupro_200"] == pytest.approx(aupro_thresholds(maps, MASKS), abs=2e-5)


def test_published_pro_of_a_constant_map_has_no_value():
    _, reasons = _state(np.zeros_like(MAPS), MASKS, published_pro=True).metrics()
    assert reasons == {"pixel_aupro_200": "fewer than two of 200 thresholds below the limit"}


@pytest.mark.parametrize("case", ["smooth", "sigmoid", "eight bits", "inverted"])
def test_aupimo_is_the_exact_one(case: str):
    maps = np.tile(CASES[case].astype(np.float32), (2, 1, 1))
    masks = np.tile(MASKS, (2, 1, 1))
    values = _values(maps, masks, 6, aupimo=True)
    assert values["pixel_aupimo"] == pytest.approx(aupimo(maps, masks), abs=1e-4)


def test_aupimo_takes_enough_normal_pixels():
    values, reasons = _state(MAPS, MASKS, 6, aupimo=True).metrics()
    assert np.isnan(values["pixel_aupimo"])
    assert reasons == {"pixel_aupimo": "fewer than 100,000 pixels in normal images"}


def test_mistakes_are_refused():
    with pytest.raises(
        ValueError, match=r"of one shape \(B, H, W\), got \(2, 4, 4\) and \(2, 4, 5\)"
    ):
        PixelState().update(np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 5), dtype=bool))
    with pytest.raises(ValueError, match=r"finite scores, got NaN"):
        PixelState().update(np.full((1, 4, 4), np.nan, np.float32), np.ones((1, 4, 4), dtype=bool))
    with pytest.raises(ValueError, match=r"states of the same metrics.*make both with the same"):
        PixelState().merge(PixelState(aupimo=True))
