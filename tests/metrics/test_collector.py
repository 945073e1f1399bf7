from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from collecting import Stored
from sklearn import metrics as sk

from clad.metrics.collector import PredictionCollector
from clad.metrics.functional.aupro import aupro
from clad.metrics.pixel_state import PIXEL_METRICS
from clad.metrics.settings import MetricSettings
from clad.types import Batch, Prediction


def make_batch(names, labels, size=4):
    labels = torch.tensor(labels)
    masks = torch.zeros(len(names), size, size, dtype=torch.bool)
    masks[labels == 1, 0, 0] = True
    return Batch(
        images=torch.zeros(len(names), 3, size, size, dtype=torch.uint8),
        labels=labels,
        masks=masks,
        has_mask=torch.ones(len(names), dtype=torch.bool),
        categories=tuple("nut" for _ in names),
        defect_types=tuple("bent" if label else "good" for label in labels.tolist()),
        paths=tuple(names),
    )


def make_prediction(scores, with_maps=True, parts=("text",), size=4):
    scores = torch.tensor(scores)
    maps = scores[:, None, None].expand(-1, size, size).clone() if with_maps else None
    return Prediction(scores, maps, {name: scores + 1 for name in parts})


def test_batches_come_back_in_order_with_fixed_types():
    collector = PredictionCollector()
    collector.update(make_prediction([0.5, 2.5]), make_batch(["a.png", "b.png"], [0, 1]))
    collector.update(make_prediction([-1.0]), make_batch(["c.png"], [1]))
    collected = collector.result()
    assert len(collected) == len(collector) == 3
    assert collected.paths == ("a.png", "b.png", "c.png")
    assert collected.defect_types == ("good", "bent", "bent")
    assert collected.category_names == ("nut",)
    np.testing.assert_array_equal(collected.scores, [0.5, 2.5, -1.0])
    np.testing.assert_array_equal(collected.parts["text"], [1.5, 3.5, 0.0])
    np.testing.assert_array_equal(collected.labels, [0, 1, 1])
    assert collected.scores.dtype == np.float64
    scores = collected.pixels["nut"].scores
    np.testing.assert_array_equal(scores.totals[:2], [3 * 16 - 2, 2])
    assert collected.keepsakes is None


def test_what_was_kept_does_not_change_with_the_batch():
    collector = PredictionCollector(for_report=True)
    prediction, batch = make_prediction([1.0]), make_batch(["a.png"], [1])
    collector.update(prediction, batch)
    for tensor in (prediction.maps, prediction.scores, batch.masks, batch.labels, batch.has_mask):
        tensor.zero_()
    found = collector.result()
    assert found.scores == found.labels == found.has_mask == 1
    (kept,) = found.keepsakes.by_row().values()
    assert kept.small_map.min() == found.keepsakes.peaks.min() == 1
    assert kept.small_mask.any()


def test_half_precision_predictions_with_a_graph_are_taken():
    scores = torch.tensor([1.0], requires_grad=True).to(torch.bfloat16)
    collector = PredictionCollector(for_report=True)
    collector.update(Prediction(scores), make_batch(["a.png"], [1]))
    assert collector.result().pixels == {}
    assert collector.result().keepsakes is None


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="predictions of at least one image, got none"):
        PredictionCollector().result()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused_with_its_path(broken):
    batch = make_batch(["a.png", "b.png"], [0, 1])
    with pytest.raises(ValueError, match=r"finite score, got NaN or infinity for b\.png"):
        PredictionCollector().update(make_prediction([0.0, broken], with_maps=False), batch)


def test_a_map_that_is_not_finite_is_refused_with_its_path():
    prediction = make_prediction([0.0, 1.0])
    prediction.maps[1, 2, 3] = float("nan")
    with pytest.raises(ValueError, match=r"finite anomaly map, got NaN or infinity for b\.png"):
        PredictionCollector().update(prediction, make_batch(["a.png", "b.png"], [0, 1]))


def test_shapes_that_do_not_fit_are_refused():
    batch = make_batch(["a.png", "b.png"], [0, 1])
    with pytest.raises(ValueError, match=r"prediction.scores of shape \(2,\), got \(1,\)"):
        PredictionCollector().update(make_prediction([0.0]), batch)
    with pytest.raises(ValueError, match=r"prediction.maps of shape \(2, 4, 4\), got \(2, 8, 8\)"):
        PredictionCollector().update(make_prediction([0.0, 1.0], size=8), batch)


def test_maps_or_parts_in_some_batches_only_are_refused():
    collector = PredictionCollector()
    collector.update(make_prediction([1.0]), make_batch(["a.png"], [1]))
    with pytest.raises(ValueError, match="maps in every batch or in none"):
        collector.update(make_prediction([1.0], with_maps=False), make_batch(["b.png"], [1]))
    with pytest.raises(
        ValueError, match=r"score parts \['text'\] in every batch, got \['memory'\]"
    ):
        collector.update(make_prediction([1.0], parts=("memory",)), make_batch(["b.png"], [1]))
    assert len(collector) == 1


def test_domains_travel_where_every_batch_names_them():
    one, two = make_batch(["a.png"], [0]), make_batch(["b.png"], [1])
    collector = PredictionCollector()
    collector.update(make_prediction([0.0]), replace(one, domains=("face",)))
    collector.update(make_prediction([1.0]), replace(two, domains=("face",)))
    assert collector.result().domains == ("face", "face")
    assert collector.result().domain_of() == {"nut": "face"}
    collector.update(make_prediction([1.0]), two)
    assert collector.result().domains == ()
    assert collector.result().domain_of() == {}


def make_stored(size=40, side=24, seed=0):
    """Two categories; some masks are unknown."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    has_mask = (labels == 0) | (rng.random(size) < 0.7)
    masks = np.zeros((size, side, side), dtype=bool)
    masks[(labels == 1) & has_mask, 4:9, 6:13] = True
    return Stored(
        paths=tuple(f"{i}.png" for i in range(size)),
        categories=tuple(rng.choice(["nut", "tile"], size).tolist()),
        defect_types=tuple("bent" if label else "good" for label in labels),
        labels=labels,
        scores=rng.normal(size=size) + labels,
        has_mask=has_mask,
        parts={"text": rng.normal(size=size)},
        maps=(rng.normal(size=masks.shape) + masks).astype(np.float32),
        masks=masks,
        domains=("industrial",) * size,
        groups=tuple(f"g{i // 3}" for i in range(size)),
    )


def test_the_state_of_pixels_is_that_of_images_with_a_known_mask():
    stored = make_stored()
    found = stored.collected()
    for name in ("nut", "tile"):
        rows = np.flatnonzero((np.array(stored.categories) == name) & stored.has_mask)
        values, _ = found.pixels[name].metrics()
        truth, maps = stored.masks[rows], stored.maps[rows]
        exact = sk.roc_auc_score(truth.ravel(), maps.ravel())
        assert values["pixel_auroc"] == pytest.approx(exact, abs=1e-9)
        assert values["pixel_aupro"] == pytest.approx(aupro(maps, truth), abs=1e-9)
    unseen = stored.maps[~stored.has_mask].size
    assert found.keepsakes.unmasked.totals.sum() == unseen > 0


@pytest.mark.parametrize("cut", [1, 13, 20, 39])
def test_two_that_are_merged_have_what_one_would_have(cut):
    stored = make_stored()
    whole = stored.collected()
    first, second = stored.collector(range(cut)), stored.collector(range(cut, 40), batch_size=5)
    first.merge(PredictionCollector())
    first.merge(second)
    merged = first.result()
    for name in ("paths", "categories", "defect_types", "domains", "groups"):
        assert getattr(merged, name) == getattr(whole, name)
    for name in ("labels", "scores", "has_mask"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    np.testing.assert_array_equal(merged.parts["text"], whole.parts["text"])
    for name, state in whole.pixels.items():
        assert merged.pixels[name].metrics()[0] == pytest.approx(state.metrics()[0], abs=1e-9)
    np.testing.assert_array_equal(merged.keepsakes.peaks, whole.keepsakes.peaks)
    ours, theirs = merged.keepsakes.by_row(), whole.keepsakes.by_row()
    assert set(ours) == set(theirs)
    for row, kept in ours.items():
        assert (kept.score, kept.label) == (theirs[row].score, theirs[row].label)
        np.testing.assert_array_equal(kept.small_map, theirs[row].small_map)
        np.testing.assert_array_equal(kept.small_mask, theirs[row].small_mask)


def test_what_cannot_be_merged_is_refused():
    one, other, empty = (PredictionCollector() for _ in range(3))
    one.update(make_prediction([1.0]), make_batch(["a.png"], [1]))
    other.update(make_prediction([1.0], with_maps=False), make_batch(["b.png"], [1]))
    with pytest.raises(ValueError, match="maps in every batch or in none"):
        one.merge(other)
    empty.merge(one)
    assert empty.result().paths == ("a.png",)
    assert set(empty.result().pixels) == {"nut"}


def test_a_collector_survives_the_way_to_another_process():
    stored = make_stored()
    again = pickle.loads(pickle.dumps(stored.collector(range(20))))
    again.merge(stored.collector(range(20, 40)))
    assert again.result().paths == stored.paths
    assert set(again.result().pixels) == {"nut", "tile"}


def test_memory_does_not_grow_with_the_maps():
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.random((4, 96, 96), dtype=np.float32))
    collector = PredictionCollector(for_report=True)

    def after(batches):
        for _ in range(batches):
            scores = torch.from_numpy(rng.random(4))
            names = [f"{len(collector) + i}.png" for i in range(4)]
            batch = make_batch(names, [0, 1, 0, 1], size=96)
            collector.update(Prediction(scores, maps + float(rng.random())), batch)
        return len(pickle.dumps(collector))

    early = after(30)
    # 400 more images are 14.7 MB of maps; names, labels and scores take some 50 bytes each.
    assert after(100) - early < 250_000


def test_a_recipe_chooses_the_pixel_metrics():
    chosen = MetricSettings(num_bins=512, published_pro=True, aupimo=True)
    collector = PredictionCollector(metrics=chosen)
    collector.update(make_prediction([0.0]), make_batch(["a.png"], [0]))
    (state,) = collector.result().pixels.values()
    assert state.metric_names == (*PIXEL_METRICS, "pixel_aupro_200", "pixel_aupimo")
    assert state.scores.num_bins == 512
    with pytest.raises(ValueError, match=r"num_bins in \[256, inf\], got 8"):
        MetricSettings(num_bins=8)
