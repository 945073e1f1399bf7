from __future__ import annotations

import numpy as np
import pytest

from clad.metrics.settings import MetricSettings
from clad.metrics.video import pool_frames, pool_videos, video_score
from clad.samples import Origin

# Video a: frame 0 with two faces, frame 1 with one; video b: one frame; a photograph of two faces;
# an image that stands for itself.
ORIGINS = (
    Origin("0", "a"), Origin("0", "a"), Origin("1", "a", has_face=False),
    Origin("0", "b", has_face=False), Origin("party.jpg"), Origin("party.jpg"), None,
)  # fmt: skip
PATHS = tuple(f"{i}.png" for i in range(7))
SCORES = np.array([0.1, 0.9, 0.3, 0.5, 2.0, 1.0, -1.0])
LABELS = np.array([1, 1, 1, 0, 1, 1, 0])


def test_frames_take_the_largest_score_of_their_faces():
    frames = pool_frames(SCORES, LABELS, ORIGINS, PATHS)
    assert frames.scores.tolist() == [0.9, 0.3, 0.5, 2.0, -1.0]
    assert frames.labels.tolist() == [1, 1, 0, 1, 0]
    assert frames.has_face.tolist() == [True, False, False, True, True]
    assert frames.first.tolist() == [0, 2, 3, 4, 6]
    assert frames.sizes.tolist() == [2, 1, 1, 2, 1]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (MetricSettings(), 0.6),
        (MetricSettings(video_score="max"), 0.9),
        (MetricSettings(video_score="top_k", top_k=1), 0.9),
        (MetricSettings(video_score="top_k", top_k=5), 0.6),
    ],
)
def test_videos_pool_frames_and_a_photograph_is_a_video_of_one_frame(settings, expected):
    videos = pool_videos(SCORES, LABELS, ORIGINS, PATHS, settings)
    assert videos.scores.tolist() == pytest.approx([expected, 0.5, 2.0, -1.0])
    assert videos.labels.tolist() == [1, 0, 1, 0]
    assert videos.has_face.tolist() == [True, False, True, True]
    assert videos.first.tolist() == [0, 3, 4, 6]
    assert videos.sizes.tolist() == [2, 1, 1, 1]


def test_top_k_is_the_mean_of_the_largest():
    assert video_score(np.array([1.0, 5.0, 3.0, 0.0]), "top_k", 2) == 4
    assert video_score(np.array([1.0, 5.0]), "top_k", 9) == 3


def test_frames_of_one_name_in_two_videos_stay_apart():
    origins = (Origin("7", "a"), Origin("7", "b"), Origin("7"))
    frames = pool_frames(np.arange(3.0), np.ones(3, int), origins, ("x", "y", "z"))
    assert frames.scores.tolist() == [0, 1, 2]
    photo_named_as_video = (Origin("a"), Origin("7", "a"))
    videos = pool_videos(np.arange(2.0), np.ones(2, int), photo_named_as_video, ("x", "y"))
    assert len(videos) == 2


@pytest.mark.parametrize("seed", range(10))
def test_random_crops_equal_nested_dictionaries(seed):
    rng = np.random.default_rng(seed)
    size = 60
    videos, frames = rng.integers(0, 6, size), rng.integers(0, 4, size)
    scores, labels = rng.normal(size=size), (videos % 2).astype(int)
    origins = tuple(Origin(str(f), f"v{v}") for f, v in zip(frames, videos, strict=True))
    nested: dict[int, dict[int, list[float]]] = {}
    for video, frame, score in zip(videos, frames, scores, strict=True):
        nested.setdefault(video, {}).setdefault(frame, []).append(score)
    expected = [np.mean([max(crops) for crops in each.values()]) for each in nested.values()]
    found = pool_videos(scores, labels, origins, tuple(map(str, range(size))))
    np.testing.assert_allclose(found.scores, expected)
    assert found.labels.tolist() == [video % 2 for video in nested]


def test_labels_that_differ_within_a_video_or_frame_are_refused():
    labels = np.array([0, 1])
    two = ("x.png", "y.png")
    with pytest.raises(ValueError, match="one label for all crops of video a, got real and fake"):
        pool_videos(np.zeros(2), labels, (Origin("0", "a"), Origin("1", "a")), two)
    with pytest.raises(ValueError, match="crops of frame 0 of video a, got"):
        pool_frames(np.zeros(2), labels, (Origin("0", "a"), Origin("0", "a")), two)
    with pytest.raises(ValueError, match=r"crops of frame p\.jpg, got"):
        pool_frames(np.zeros(2), labels, (Origin("p.jpg"), Origin("p.jpg")), two)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"one score, label, origin and path per image"):
        pool_frames(np.zeros(2), np.zeros(1, int), (None,), ("x",))
    with pytest.raises(ValueError, match="at least one frame, got none"):
        video_score(np.array([]), "mean", 1)
    with pytest.raises(ValueError, match="expected video_score mean, max or top_k, got 'median'"):
        video_score(np.array([1.0]), "median", 1)
    with pytest.raises(ValueError, match="expected video_score among mean, max, top_k"):
        MetricSettings(video_score="median")
    with pytest.raises(ValueError, match=r"expected top_k in \[1, inf\], got 0"):
        MetricSettings(top_k=0)
    with pytest.raises(ValueError, match="expected threshold_rule among false_alarms"):
        MetricSettings(threshold_rule="best")
