from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from clad.metrics.collector import PredictionCollector
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
    np.testing.assert_array_equal(collected.masks.sum(axis=(1, 2)), [0, 1, 1])
    assert collected.scores.dtype == np.float64
    assert collected.maps.dtype == np.float32
    assert collected.maps.shape == collected.masks.shape == (3, 4, 4)


def test_what_was_kept_does_not_change_with_the_batch():
    collector = PredictionCollector()
    prediction, batch = make_prediction([1.0]), make_batch(["a.png"], [1])
    collector.update(prediction, batch)
    prediction.maps.zero_()
    batch.masks.zero_()
    assert collector.result().maps.min() == 1
    assert collector.result().masks.any()


def test_half_precision_predictions_with_a_graph_are_taken():
    scores = torch.tensor([1.0], requires_grad=True).to(torch.bfloat16)
    collector = PredictionCollector()
    collector.update(Prediction(scores), make_batch(["a.png"], [1]))
    assert collector.result().maps is None
    assert collector.result().masks is None


def test_reset_forgets():
    collector = PredictionCollector()
    collector.update(make_prediction([1.0]), make_batch(["a.png"], [1]))
    collector.reset()
    with pytest.raises(ValueError, match="predictions of at least one image, got none"):
        collector.result()


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
    collector.reset()
    collector.update(make_prediction([0.0]), replace(one, domains=("face",)))
    assert collector.result().domains == ("face",)
