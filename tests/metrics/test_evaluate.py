from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from collecting import Stored
from sklearn import metrics as sk

from clad.metrics.evaluate import (
    IMAGE_METRICS,
    PIXEL_METRICS,
    THRESHOLD_METRICS,
    Evaluation,
)
from clad.metrics.evaluate import evaluate as evaluate_collected
from clad.metrics.functional.aupro import aupro


def evaluate(stored, *settings):
    return evaluate_collected(stored.collected(), *settings)


def make_collected(categories=("nut", "nut", "nut", "nut", "cell", "cell", "cell"), seed=0):
    rng = np.random.default_rng(seed)
    size = len(categories)
    labels = np.array([0, 1, 0, 1, 1, 0, 1][:size])
    masks = np.zeros((size, 16, 16), dtype=bool)
    masks[labels == 1, 2:5, 3:9] = True
    maps = (rng.normal(size=masks.shape) + masks).astype(np.float32)
    return Stored(
        paths=tuple(f"{i}.png" for i in range(size)),
        categories=tuple(categories),
        defect_types=tuple("bent" if label else "good" for label in labels),
        labels=labels,
        scores=rng.normal(size=size),
        has_mask=np.ones(size, dtype=bool),
        maps=maps,
        masks=masks,
    )


def test_each_category_is_evaluated_alone_and_the_mean_is_over_categories():
    collected = make_collected()
    result = evaluate(collected)
    assert list(result.per_category) == ["nut", "cell"]
    for name, rows in (("nut", slice(0, 4)), ("cell", slice(4, 7))):
        row = result.per_category[name]
        assert set(row) == {*IMAGE_METRICS, *PIXEL_METRICS}
        labels, scores = collected.labels[rows], collected.scores[rows]
        maps, masks = collected.maps[rows], collected.masks[rows]
        assert row["image_auroc"] == pytest.approx(sk.roc_auc_score(labels, scores))
        assert row["image_ap"] == pytest.approx(sk.average_precision_score(labels, scores))
        assert row["pixel_auroc"] == pytest.approx(
            sk.roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-9
        )
        assert row["pixel_aupro"] == pytest.approx(aupro(maps, masks), abs=1e-9)
    for metric, value in result.mean.items():
        both = [row[metric] for row in result.per_category.values()]
        assert value == pytest.approx(sum(both) / 2)
    assert result.undefined == ()
    assert set(result.left_out.values()) == {0}


def test_pixel_metrics_leave_out_images_whose_mask_is_unknown():
    collected = make_collected(("nut",) * 4)
    unknown = np.array([True, True, True, False])
    blind = replace(collected, has_mask=unknown, masks=collected.masks & unknown[:, None, None])
    value = evaluate(blind).per_category["nut"]["pixel_auroc"]
    expected = sk.roc_auc_score(collected.masks[:3].ravel(), collected.maps[:3].ravel())
    assert value == pytest.approx(expected, abs=1e-9)


def test_a_category_without_masks_is_left_out_of_the_mean_and_counted():
    collected = make_collected()
    is_cell_defect = (np.array(collected.categories) == "cell") & (collected.labels == 1)
    masks = collected.masks & ~is_cell_defect[:, None, None]
    result = evaluate(replace(collected, has_mask=~is_cell_defect, masks=masks))
    assert math.isnan(result.per_category["cell"]["pixel_aupro"])
    assert result.mean["pixel_aupro"] == result.per_category["nut"]["pixel_aupro"]
    assert result.left_out["pixel_aupro"] == 1
    assert result.left_out["image_auroc"] == 0
    assert result.undefined == (f"{', '.join(PIXEL_METRICS)} of cell: no masks",)


def test_an_image_only_head_has_no_pixel_metrics():
    result = evaluate(replace(make_collected(), maps=None, masks=None))
    assert math.isnan(result.mean["pixel_auroc"])
    assert result.undefined[0].endswith("of nut: no anomaly maps")


def test_one_class_only_gives_the_reason():
    collected = replace(make_collected(("nut",) * 4), labels=np.zeros(4, dtype=int))
    result = evaluate(collected, {"nut": 0.0})
    (sentence,) = result.undefined
    assert sentence.startswith("image_auroc, image_ap, image_f1_max, pixel_auroc")
    assert sentence.endswith("image_f1, image_recall of nut: no anomalous image")
    assert math.isnan(result.mean["image_auroc"])
    assert not math.isnan(result.mean["image_false_alarm_rate"])


def test_metrics_at_a_threshold_computed_by_hand():
    collected = replace(
        make_collected(("nut",) * 7),
        scores=np.array([0.0, 3.0, 2.0, 1.0, 2.0, 0.5, 9.0]),
        labels=np.array([0, 1, 0, 1, 1, 0, 1]),
    )
    row = evaluate(collected, {"nut": 2.0}).per_category["nut"]
    # At or above 2: three of four anomalous, one of three normal.
    assert row["image_recall"] == 0.75
    assert row["image_false_alarm_rate"] == pytest.approx(1 / 3)
    assert row["image_accuracy"] == pytest.approx(5 / 7)
    assert row["image_f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert set(THRESHOLD_METRICS) <= set(row)


def test_a_missing_threshold_is_refused():
    with pytest.raises(ValueError, match="threshold for every category, got none for 'cell'"):
        evaluate(make_collected(), {"nut": 0.0})


def test_json_has_null_for_undefined_and_reads_back():
    result = evaluate(replace(make_collected(), maps=None, masks=None))
    text = json.dumps(result.to_json(), allow_nan=False)
    stored = json.loads(text)
    assert stored["mean"]["pixel_auroc"] is None
    assert stored["per_category"]["nut"]["image_auroc"] == result.per_category["nut"]["image_auroc"]
    again = Evaluation.from_json(stored)
    assert math.isnan(again.mean["pixel_auroc"])
    assert again.to_json() == result.to_json()


def test_masks_that_are_empty_leave_no_anomalous_pixel():
    collected = make_collected(("nut",) * 4)
    result = evaluate(replace(collected, masks=np.zeros_like(collected.masks)))
    assert result.undefined == (f"{', '.join(PIXEL_METRICS)} of nut: no anomalous pixel",)


DOMAINS = ("industrial",) * 4 + ("face",) * 3


def test_mean_of_a_domain_is_over_its_categories():
    names = ("nut", "nut", "tile", "tile", "face", "face", "face")
    collected = replace(make_collected(names), domains=DOMAINS)
    result = evaluate(collected)
    assert list(result.per_domain) == ["industrial", "face"]
    rows = result.per_category
    for metric, value in result.per_domain["industrial"].items():
        assert value == pytest.approx((rows["nut"][metric] + rows["tile"][metric]) / 2)
    assert result.per_domain["face"] == rows["face"]
    # The mean stays one over categories, not over domains.
    aurocs = [row["image_auroc"] for row in rows.values()]
    assert result.mean["image_auroc"] == pytest.approx(sum(aurocs) / 3)
    assert result.domain_of == {"nut": "industrial", "tile": "industrial", "face": "face"}


def test_undefined_values_are_left_out_of_the_mean_of_a_domain():
    names = ("nut", "tile", "nut", "nut", "face", "face", "face")  # one image of tile, anomalous
    result = evaluate(replace(make_collected(names), domains=DOMAINS))
    assert math.isnan(result.per_category["tile"]["image_auroc"])
    assert result.per_domain["industrial"]["image_auroc"] == pytest.approx(
        result.per_category["nut"]["image_auroc"]
    )


def test_domains_survive_json_and_one_domain_says_nothing():
    result = evaluate(replace(make_collected(), domains=DOMAINS))
    stored = json.loads(json.dumps(result.to_json()))
    assert Evaluation.from_json(stored) == result
    assert set(stored["per_domain"]) == {"industrial", "face"}
    alone = evaluate(replace(make_collected(), domains=("face",) * 7))
    assert (alone.per_domain, alone.domain_of) == ({}, {})
    assert "per_domain" not in alone.to_json()


def test_a_category_of_two_domains_is_refused():
    collected = replace(make_collected(), domains=("face",) * 3 + ("industrial",) * 4)
    with pytest.raises(ValueError, match=r"one domain per category, got face and industrial for"):
        evaluate(collected)
