"""Frames, videos, kinds of forgery, missing faces and natural photographs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from collecting import Stored
from sklearn import metrics as sk

from clad.metrics.evaluate import evaluate
from clad.metrics.evaluation import Evaluation
from clad.metrics.faces import natural_photographs
from clad.metrics.settings import MetricSettings
from clad.samples import Origin


def collect(scores, kinds, origins=(), **fields):
    """Images of the category and domain ``face``; the kind ``good`` is real."""
    size = len(scores)
    values = {
        "paths": tuple(f"set/{i}.png" for i in range(size)),
        "categories": ("face",) * size,
        "defect_types": tuple(kinds),
        "labels": np.array([int(kind != "good") for kind in kinds]),
        "scores": np.asarray(scores, dtype=np.float64),
        "has_mask": np.zeros(size, dtype=bool),
        "domains": ("face",) * size,
        "origins": tuple(origins),
    }
    return Stored(**(values | fields))


def random_videos(seed=0, num_videos=24, crops=(1, 5)):
    """Videos of up to three frames, up to two faces each; kinds DF and FS, half of them real."""
    rng = np.random.default_rng(seed)
    scores, kinds, origins = [], [], []
    for video in range(num_videos):
        kind = ("good", "DF", "good", "FS")[video % 4]
        for _ in range(rng.integers(*crops)):
            frame = str(rng.integers(3))
            scores.append(rng.normal() + (kind != "good") * rng.uniform(0, 2))
            kinds.append(kind)
            origins.append(Origin(frame, f"v{video}", has_face=bool(rng.random() > 0.2)))
    return collect(scores, kinds, origins)


def slow_videos(found, keep=lambda row: True):
    """Labels, mean-of-max scores, by nested dictionaries."""
    nested, labels = {}, {}
    for row, origin in enumerate(found.origins):
        if keep(row):
            video = nested.setdefault(origin.video, {})
            video.setdefault(origin.frame, []).append(found.scores[row])
            labels[origin.video] = found.labels[row]
    frames = [(labels[v], max(crops)) for v, each in nested.items() for crops in each.values()]
    videos = [
        (labels[v], np.mean([max(crops) for crops in each.values()])) for v, each in nested.items()
    ]
    columns = (*zip(*frames, strict=True), *zip(*videos, strict=True))
    return (np.array(column) for column in columns)


@pytest.mark.parametrize("seed", range(5))
def test_levels_equal_nested_dictionaries_and_scikit_learn(seed):
    found = random_videos(seed)
    row = evaluate(found).per_category["face"]
    frame_labels, frame_scores, video_labels, video_scores = slow_videos(found)
    for level, labels, scores in (
        ("image", found.labels, found.scores),
        ("frame", frame_labels, frame_scores),
        ("video", video_labels, video_scores),
    ):
        assert row[f"{level}_auroc"] == pytest.approx(sk.roc_auc_score(labels, scores))
        assert row[f"{level}_ap"] == pytest.approx(sk.average_precision_score(labels, scores))
    counts = evaluate(found).counts["face"]
    assert counts["images"] == len(found)
    assert (counts["frames"], counts["videos"]) == (len(frame_labels), 24)


@pytest.mark.parametrize("seed", range(5))
def test_each_kind_stands_against_all_real_images_and_the_mean_is_over_kinds(seed):
    found = random_videos(seed)
    result = evaluate(found)
    kinds = np.array(found.defect_types)
    rows = result.per_manipulation["face"]
    assert set(rows) == {"DF", "FS"}
    for kind, values in rows.items():
        keep = np.isin(kinds, ["good", kind])
        expected = sk.roc_auc_score(found.labels[keep], found.scores[keep])
        assert values["image_auroc"] == pytest.approx(expected)
        _, _, labels, scores = slow_videos(found, lambda row: keep[row])  # noqa: B023
        assert values["video_auroc"] == pytest.approx(sk.roc_auc_score(labels, scores))
    for metric in ("image_auroc", "video_eer", "frame_ap"):
        expected = (rows["DF"][metric] + rows["FS"][metric]) / 2
        assert result.mean[f"manipulation_mean_{metric}"] == pytest.approx(expected)


def test_values_computed_by_hand():
    origins = [
        *(Origin("0", "a"), Origin("0", "a"), Origin("1", "a")),
        *(Origin("0", "b", has_face=False), Origin("0", "c"), Origin("photo.jpg")),
    ]
    kinds = ["DF", "DF", "DF", "good", "FS", "good"]
    found = collect([0.2, 0.8, 0.4, 0.7, 0.9, 0.1], kinds, origins)
    result = evaluate(found, {"face": 0.5}, level_thresholds={"video": {"face": 0.65}})
    row = result.per_category["face"]
    assert result.counts["face"] == {"images": 6, "frames": 5, "videos": 4, "no_face": 1}
    # Videos: a 0.6 fake, b 0.7 real, c 0.9 fake, photograph 0.1 real.
    assert row["video_auroc"] == 0.75
    assert row["video_accuracy"] == 0.5
    assert row["video_false_alarm_rate"] == 0.5
    assert row["video_oracle_accuracy"] == 0.75
    assert row["no_face_share"] == 0.2
    assert row["video_auroc_faces_only"] == 1.0
    assert row["image_accuracy"] == 3 / 6
    # DF against both real ones: called 0.8 of 0.2, 0.8, 0.4.
    assert result.per_manipulation["face"]["DF"]["image_recall"] == pytest.approx(1 / 3)
    assert result.per_manipulation["face"]["DF"]["video_accuracy"] == pytest.approx(1 / 3)
    assert result.per_manipulation["face"]["FS"]["video_auroc"] == 1.0
    # No threshold on frames was given.
    assert math.isnan(row["frame_accuracy"])
    assert any(
        "frame_accuracy" in s and s.endswith("no threshold was fitted on validation frames")
        for s in result.undefined
    )


def test_photographs_of_one_face_have_no_levels_and_no_origin_has_no_counts():
    scores, kinds = [0.1, 0.9, 0.5], ["good", "DF", "good"]
    plain = evaluate(collect(scores, kinds))
    photos = evaluate(collect(scores, kinds, [Origin(f"{i}.jpg") for i in range(3)]))
    assert plain.counts == {}
    assert photos.counts["face"] == {"images": 3, "frames": 3, "videos": 3, "no_face": 0}
    for result in (plain, photos):
        assert not any(name.startswith(("frame", "video")) for name in result.mean)
        assert result.mean["image_eer"] == 0


def test_other_domains_get_none_of_it():
    found = replace(collect([0.1, 0.9], ["good", "bent"]), domains=("industrial",) * 2)
    assert set(evaluate(found).mean) == {
        "image_auroc", "image_ap", "image_f1_max",
        "pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro",
        "pixel_eer", "pixel_false_alarms_at_95_recall",
    }  # fmt: skip


def test_faces_beside_parts_do_not_count_as_left_out_of_the_parts():
    faces = random_videos()
    size = len(faces)
    both = replace(
        faces,
        categories=("nut", "nut", *("face",) * (size - 2)),
        domains=("industrial", "industrial", *("face",) * (size - 2)),
    )
    result = evaluate(both)
    assert "image_eer" not in result.per_category["nut"]
    assert result.left_out["image_eer"] == 0
    assert result.mean["image_eer"] == result.per_category["face"]["image_eer"]


def test_the_rule_for_videos_can_be_chosen():
    found = random_videos(3)
    largest = evaluate(found, settings=MetricSettings(video_score="max"))
    pooled = {}
    for origin, label, score in zip(found.origins, found.labels, found.scores, strict=True):
        old = pooled.get(origin.video, (label, -np.inf))[1]
        pooled[origin.video] = (label, max(score, old))
    labels, scores = zip(*pooled.values(), strict=True)
    assert largest.mean["video_auroc"] == pytest.approx(sk.roc_auc_score(labels, scores))


def test_one_class_only_is_undefined_with_reasons():
    origins = [Origin("0", "a"), Origin("1", "a")]
    result = evaluate(collect([0.1, 0.2], ["good", "good"], origins))
    assert math.isnan(result.mean["video_eer"])
    assert result.per_manipulation == {}
    assert any("video_eer" in s and s.endswith("no anomalous video") for s in result.undefined)
    fakes = evaluate(collect([0.1, 0.2], ["DF", "DF"], origins), {"face": 0.15})
    assert math.isnan(fakes.mean["manipulation_mean_image_auroc"])
    assert any("manipulation_mean_image_auroc" in s for s in fakes.undefined)
    assert fakes.mean["manipulation_mean_image_recall"] == 0.5


def test_no_face_at_all_leaves_faces_only_undefined():
    origins = [Origin(f"{i}.jpg", has_face=False) for i in range(2)]
    result = evaluate(collect([0.1, 0.9], ["good", "DF"], origins))
    assert result.mean["no_face_share"] == 1
    assert math.isnan(result.mean["image_auroc_faces_only"])
    assert "image_auroc_faces_only of face: no images with a face" in result.undefined


def test_natural_photographs_are_real_ones_of_that_folder_group_or_category():
    paths = ("r/real/natural/0.png", "r/real/studio/1.png", "r/fake/natural/2.png", "r/real/3.png")
    found = collect([0.1, 0.2, 0.9, 0.8], ["good", "good", "DF", "good"], paths=paths)
    grouped = replace(found, groups=(None, None, None, "Natural"))
    assert natural_photographs(grouped, ["natural"]).tolist() == [True, False, False, True]
    assert not natural_photographs(found, []).any()
    # A folder above the data says nothing.
    assert not natural_photographs(found, ["r"]).any()
    result = evaluate(grouped, {"face": 0.5})
    assert result.mean["natural_specificity"] == 0.5
    assert "natural_specificity" not in evaluate(found, settings=MetricSettings(natural=())).mean
    without = evaluate(grouped)
    assert math.isnan(without.mean["natural_specificity"])
    assert "natural_specificity of face: no threshold was fitted" in without.undefined


def test_masks_of_fakes_give_pixel_metrics():
    rng = np.random.default_rng(0)
    masks = np.zeros((4, 8, 8), dtype=bool)
    masks[2:, 2:5, 2:5] = True
    maps = (rng.normal(size=masks.shape) + masks).astype(np.float32)
    known = np.array([True, True, True, False])
    found = collect(
        [0.0, 0.1, 0.8, 0.9], ["good", "good", "DF", "DF"], masks=masks, maps=maps, has_mask=known
    )
    expected = sk.roc_auc_score(masks[:3].ravel(), maps[:3].ravel())
    assert evaluate(found.collected()).mean["pixel_auroc"] == pytest.approx(expected, abs=1e-9)


def test_everything_survives_json():
    names = {"DF": "stylegan2", "FS": "ldm_200", "good": "good"}
    found = random_videos()
    found = replace(found, defect_types=tuple(names[kind] for kind in found.defect_types))
    result = evaluate(found, {"face": 0.0})
    stored = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert {"per_manipulation", "families", "family_of", "counts"} <= set(stored)
    again = Evaluation.from_json(stored)
    assert again.to_json() == result.to_json()
    assert again.per_manipulation["face"]["stylegan2"] == pytest.approx(
        result.per_manipulation["face"]["stylegan2"], nan_ok=True
    )
