"""Counts of scores in bounded memory: what is exact, what is close, what never changes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clad.metrics import counted_scores
from clad.metrics.counted_scores import GriddedScores, SortedScores, count_scores
from clad.metrics.float_order import keys_of, roundest_between, scores_of
from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.average_precision import average_precision
from clad.metrics.functional.binned import binned_auroc, binned_average_precision
from clad.metrics.histogram import ANOMALOUS, NORMAL, WEIGHT, ScoreHistogram

SIZE = 40_000


def count(
    histogram: ScoreHistogram, scores: np.ndarray, labels: np.ndarray, *weights: np.ndarray
) -> None:
    histogram.count(scores.reshape(-1), scores[labels], *weights)


def _scores(seed: int = 0, size: int = SIZE) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    anomalous = generator.random(size) < 0.05
    return (generator.normal(size=size) + anomalous).astype(np.float32), anomalous


def _counted(
    scores: NDArray[np.float32], anomalous: NDArray[np.bool_], num_bins: int = 8192, parts: int = 5
) -> ScoreHistogram:
    histogram = ScoreHistogram(num_bins)
    for some, labels in zip(
        np.array_split(scores, parts), np.array_split(anomalous, parts), strict=True
    ):
        count(histogram, some, labels)
    return histogram


def _is_well_formed(histogram: ScoreHistogram) -> bool:
    edges = histogram.edges
    return bool(
        edges[0] == -np.inf
        and (np.diff(edges) > 0).all()
        and histogram.counts.shape == (3, len(edges))
        and (histogram.counts >= -1e-9).all()
        and len(edges) <= histogram.num_bins
    )


def test_keys_count_off_the_float32_numbers():
    scores = np.float32([-np.inf, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1.0, np.inf])
    keys = keys_of(scores)
    assert keys[3] == keys[4] == 0
    assert keys[5] == 1
    assert keys[2] == -1
    assert (np.diff(keys[[0, 1, 2, 3, 5, 6, 7]]) > 0).all()
    assert np.array_equal(scores_of(keys), scores)
    assert keys_of(np.nextafter(scores[6:7], np.float32(2)))[0] == keys[6] + 1


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [(0, 8, 4), (4, 8, 6), (5, 8, 6), (3, 9, 8), (-8, 8, 0), (-8, 0, -4), (6, 8, 7)],
)
def test_the_roundest_key_lies_between(low: int, high: int, middle: int):
    assert roundest_between(np.array([low]), np.array([high])).tolist() == [middle]


@pytest.mark.parametrize("kind", ["smooth", "tied", "tiny", "constant", "outlier"])
def test_counts_below_edges_are_those_of_a_plain_count(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counted_scores, "_FEWEST_FOR_CELLS", 1000)
    scores, anomalous = _scores(size=3000)
    scores = {
        "smooth": scores,
        "tied": np.round(scores, 1),
        "tiny": 0.5 + scores * 1e-7,
        "constant": np.full_like(scores, 0.3),
        "outlier": np.where(np.arange(3000) == 7, np.float32(1e30), scores),
    }[kind].astype(np.float32)
    weights = np.random.default_rng(1).random(int(anomalous.sum()))
    edges = np.float32([-np.inf, -4, 0.25, 0.3, 0.5, 1.0, 4, 1e20])
    expected = [
        [(scores[~anomalous] < edge).sum() for edge in edges],
        [(scores[anomalous] < edge).sum() for edge in edges],
        [weights[scores[anomalous] < edge].sum() for edge in edges],
    ]
    exact = SortedScores(scores, scores[anomalous], weights)
    assert exact.below(edges) == pytest.approx(np.array(expected))
    assert exact.totals[:, 0] == pytest.approx([(~anomalous).sum(), anomalous.sum(), weights.sum()])
    ends = (float(scores.min()), float(scores.max()))
    fast = count_scores(scores, scores[anomalous], weights, ends, most_share=1e-3)
    # Cells are used where scores are spread out; these edges are ends of cells, so nothing differs.
    assert isinstance(fast, GriddedScores) == (kind == "smooth")
    aligned = edges != np.float32(0.3)
    assert fast.below(edges)[:, aligned] == pytest.approx(np.array(expected)[:, aligned])
    assert fast.totals == pytest.approx(exact.totals)


def test_bins_stay_within_their_number_and_lose_nothing():
    scores, anomalous = _scores()
    histogram = ScoreHistogram(512)
    drift = np.linspace(0, 300, 10, dtype=np.float32)[:, None]
    for some, labels in zip(scores.reshape(10, -1) + drift, anomalous.reshape(10, -1), strict=True):
        count(histogram, some, labels)
        assert _is_well_formed(histogram)
    assert histogram.counts[NORMAL].sum() == pytest.approx((~anomalous).sum(), rel=1e-12)
    assert histogram.counts[ANOMALOUS].sum() == pytest.approx(anomalous.sum(), rel=1e-12)
    assert histogram.num_bytes <= 28 * 512


def test_equal_scores_are_told_apart_from_their_neighbours():
    levels = np.float32([-0.5, 0.0, 0.25, np.nextafter(np.float32(0.25), np.float32(1)), 1e-30])
    generator = np.random.default_rng(0)
    scores = generator.choice(levels, SIZE)
    anomalous = generator.random(SIZE) < 0.2 + (scores > 0.25)
    ranking = _counted(scores, anomalous).ranking()
    assert ranking.is_single.all()
    assert len(ranking.normal) == len(levels)
    assert binned_auroc(ranking) == pytest.approx(auroc(scores, anomalous), abs=1e-15)
    expected = average_precision(scores, anomalous)
    assert binned_average_precision(ranking) == pytest.approx(expected, abs=1e-15)


def test_weights_are_counted_where_their_scores_are():
    scores = np.float32([0.1, 0.9, 0.4, 0.2])
    histogram = ScoreHistogram()
    count(histogram, scores, np.array([True, True, False, True]), np.array([0.5, 2.0, 1.0]))
    count(histogram, scores, np.zeros(4, dtype=bool))
    weight = histogram.counts[WEIGHT]
    assert weight.sum() == pytest.approx(3.5)
    top = histogram.edges >= 0.4
    assert weight[top].sum() == pytest.approx(2.0)


def test_merging_does_not_depend_on_the_order():
    parts = [_counted(*_scores(seed, 6000), num_bins=16_384) for seed in range(3)]

    def merged(order: tuple[int, ...]) -> ScoreHistogram:
        whole = ScoreHistogram(16_384)
        for place in order:
            whole.merge(parts[place])
        return whole

    first, second = merged((0, 1, 2)), merged((2, 0, 1))
    inner = _counted(*_scores(1, 6000), num_bins=16_384)
    inner.merge(parts[2])
    inner.merge(parts[0])
    for other in (second, inner):
        assert np.array_equal(first.edges, other.edges)
        assert first.counts == pytest.approx(other.counts, abs=1e-9)
    assert (first.lowest, first.highest) == (second.lowest, second.highest)


def test_merging_into_too_many_bins_joins_some():
    whole = ScoreHistogram(300)
    for seed in range(4):
        scores, anomalous = _scores(seed)
        whole.merge(_counted(scores + 3 * seed, anomalous, num_bins=300))
        assert _is_well_formed(whole)
    assert whole.counts[:2].sum() == pytest.approx(4 * SIZE)


def test_a_part_that_is_counted_apart_gives_the_same_counts_for_the_same_bins():
    scores, anomalous = _scores()
    whole = _counted(scores, anomalous, parts=1)
    half = SIZE // 2
    pair = []
    for part in (np.s_[:half], np.s_[half:]):
        pair.append(ScoreHistogram(65_536, whole.edges.copy(), np.zeros_like(whole.counts)))
        count(pair[-1], scores[part], anomalous[part])
    pair[0].merge(pair[1])
    kept = np.isin(pair[0].edges, whole.edges)
    counts = np.add.reduceat(pair[0].counts, np.flatnonzero(kept), axis=1)
    assert counts == pytest.approx(whole.counts, abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.98, 0.999, 1.0])
def test_quantiles(share: float):
    scores, anomalous = _scores()
    histogram = _counted(scores, anomalous)
    found = histogram.quantile(share)
    assert (scores < found).mean() == pytest.approx(share, abs=1e-4)
    if share in (0.0, 1.0):
        assert found == np.quantile(scores, share)


def test_quantiles_of_little():
    histogram = ScoreHistogram()
    assert np.isnan(histogram.quantile(0.5))
    count(histogram, np.full(5, 0.3, np.float32), np.zeros(5, dtype=bool))
    assert histogram.quantile(0) == histogram.quantile(0.5) == histogram.quantile(1)
    assert histogram.quantile(0.5) == np.float32(0.3)
    with pytest.raises(ValueError, match=r"share in \[0, 1\], got 2"):
        histogram.quantile(2)


def test_nothing_is_counted_of_nothing():
    histogram = ScoreHistogram()
    count(histogram, np.zeros((0, 4), np.float32), np.zeros((0, 4), dtype=bool))
    assert not histogram.counts.any()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(broken: float):
    scores = np.float32([0.1, broken, 0.2])
    with pytest.raises(ValueError, match=r"finite scores, got NaN or infinity"):
        count(ScoreHistogram(), scores, np.zeros(3, dtype=bool))


def test_other_mistakes_are_refused():
    with pytest.raises(ValueError, match=r"num_bins in \[256, inf\], got 10"):
        ScoreHistogram(10)


@pytest.mark.parametrize("kind", ["spread out", "sorted"])
def test_no_bin_holds_too_much_of_anything(kind: str):
    scores, anomalous = _scores()
    scores = scores if kind == "spread out" else np.exp(5 * scores)
    histogram = ScoreHistogram(2048)
    count(histogram, scores, anomalous)
    normal, found = histogram.counts[:2]
    items = normal + found
    as_high = np.cumsum(items[::-1])[::-1]
    as_low = np.cumsum(items)
    ends = items / np.maximum(as_high, 1) + items / np.maximum(as_low, 1)
    loads = normal / normal.sum() + 2 * found / found.sum() + ends / (2 + 2 * np.log(SIZE))
    assert loads.sum() == pytest.approx(4, rel=0.1)
    assert loads[items > 1.5].max() <= 12 / 2048 * (1 + 1e-9)
    assert 900 < len(histogram.edges) < 1150


def test_what_a_bin_held_is_spread_over_its_numbers():
    edges = np.float32([-np.inf, 1, 2])
    counts = np.array([[0.0, 8, 4], [0, 4, 2], [0, 2, 1]])
    histogram = ScoreHistogram(edges=edges, counts=counts, lowest=1.1, highest=3)
    finer = np.float32([-np.inf, 1, 1.5, 1.75, 2])
    histogram.merge(ScoreHistogram(edges=finer, counts=np.zeros((3, 5))))
    assert np.array_equal(histogram.edges, finer)
    assert histogram.counts.tolist() == [[0, 4, 2, 2, 4], [0, 2, 1, 1, 2], [0, 1, 0.5, 0.5, 1]]


def test_counts_above_thresholds():
    edges = np.float32([-np.inf, 1, np.nextafter(np.float32(1), np.float32(2)), 2])
    counts = np.array([[2.0, 3, 0, 4], [0, 1, 0, 2], [0, 1, 0, 2]])
    histogram = ScoreHistogram(edges=edges, counts=counts, lowest=0.0, highest=4.0)
    # At 1 lie single numbers, which are not above themselves; from 2 to 4 scores lie evenly.
    found = histogram.above(np.array([0.0, 0.5, 1.0, 1.5, 3.0, 4.0]))
    assert found[NORMAL].tolist() == [9, 8, 4, 4, 2, 0]
    assert found[ANOMALOUS].tolist() == [3, 3, 2, 2, 1, 0]


@pytest.mark.filterwarnings("error")
def test_arrays_that_must_not_be_written_are_counted():
    scores = np.array([1, 5, 3], dtype=np.float32)
    scores.flags.writeable = False
    histogram = ScoreHistogram()
    histogram.count(scores, scores[:0])
    assert (histogram.lowest, histogram.highest) == (1, 5)
    assert histogram.counts[NORMAL].sum() == 3
