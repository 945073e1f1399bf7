"""Scores of face crops -> scores of frames -> scores of videos, with their truth.

All faces of a frame are scored and the largest score counts for it, because one forged face makes
a forged frame. How frames become a video is a choice (``MetricSettings.video_score``). A photograph
is a video of one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range
from clad.metrics.settings import STANDARD, MetricSettings, VideoScore
from clad.samples import Origin

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """Frames or videos, in the order in which their first crop came.

    Args:
        scores: (M,) float64.
        labels: (M,) int64, 1 anomalous.
        has_face: (M,) bool, whether a face was found in it (in a video: in some frame).
        first: (M,) int64, position of the first crop of each; its path, category or group stand
            for the whole.
        sizes: (M,) int64, number of crops (of a frame) or of frames (of a video).
    """

    scores: Scores
    labels: NDArray[np.int64]
    has_face: NDArray[np.bool_]
    first: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


def pool_frames(
    scores: NDArray,
    labels: NDArray,
    origins: Sequence[Origin | None],
    paths: Sequence[str],
) -> Pooled:
    """One row per frame, with the largest score of its crops.

    Args:
        scores: (N,) float; larger = more anomalous.
        labels: (N,) 0 and 1.
        origins: N frames and videos; None where an image stands for itself.
        paths: N file names: what tells apart images without an origin.

    Raises:
        ValueError: If lengths differ, or crops of one frame differ in their label.
    """
    _expect_lengths(scores, labels, origins, paths)
    keys = [
        (None, path) if origin is None else (origin.video, origin.frame)
        for origin, path in zip(origins, paths, strict=True)
    ]
    found = [origin is None or origin.has_face for origin in origins]
    return _pool(keys, np.asarray(scores), np.asarray(labels), np.array(found), np.max)


def pool_videos(
    scores: NDArray,
    labels: NDArray,
    origins: Sequence[Origin | None],
    paths: Sequence[str],
    settings: MetricSettings = STANDARD,
) -> Pooled:
    """One row per video (and per photograph), from the scores of its frames.

    Args:
        scores: (N,) float; larger = more anomalous.
        labels: (N,) 0 and 1.
        origins: N frames and videos; None where an image stands for itself.
        paths: N file names: what tells apart images without an origin.
        settings: How frames become a video: ``video_score`` and ``top_k``.

    Raises:
        ValueError: If lengths differ, or crops of one video differ in their label.
    """
    frames = pool_frames(scores, labels, origins, paths)
    keys: list[Hashable] = []
    for position in frames.first:
        origin = origins[position]
        frame = paths[position] if origin is None else origin.frame
        video = None if origin is None else origin.video
        keys.append((None, frame) if video is None else (video,))

    def score_of(values: Scores) -> float:
        return video_score(values, settings.video_score, settings.top_k)

    videos = _pool(keys, frames.scores, frames.labels, frames.has_face, score_of)
    return Pooled(
        videos.scores, videos.labels, videos.has_face, frames.first[videos.first], videos.sizes
    )


def video_score(frame_scores: NDArray, rule: VideoScore, top_k: int) -> float:
    """The score of a video.

    Args:
        frame_scores: (F,) float, at least one.
        rule: ``mean`` of all frames, their ``max``, or ``top_k``: the mean of the largest few.
        top_k: How many those are, at least 1; all where the video has fewer frames.

    Raises:
        ValueError: If the rule is unknown, ``top_k`` below 1, or there is no frame.
    """
    expect_range("top_k", top_k, 1, float("inf"))
    values = np.asarray(frame_scores, dtype=np.float64)
    if not len(values):
        raise ValueError("expected scores of at least one frame, got none; leave out the video")
    if rule == "mean":
        return float(values.mean())
    if rule == "max":
        return float(values.max())
    if rule == "top_k":
        return float(np.sort(values)[-top_k:].mean())
    raise ValueError(f"expected video_score mean, max or top_k, got {rule!r}")


def _pool(
    keys: Sequence[Hashable],
    scores: NDArray,
    labels: NDArray,
    has_face: NDArray[np.bool_],
    score_of: Callable[[NDArray], float],
) -> Pooled:
    members: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        members.setdefault(key, []).append(position)
    for key, rows in members.items():
        if len(set(labels[rows].tolist())) > 1:
            raise ValueError(
                f"expected one label for all crops of {_shown(key)}, got real and fake ones; give "
                "the whole video one label, or list its parts as videos of their own"
            )
    rows_of = list(members.values())
    return Pooled(
        scores=np.array([score_of(scores[rows]) for rows in rows_of], dtype=np.float64),
        labels=np.array([labels[rows[0]] for rows in rows_of], dtype=np.int64),
        has_face=np.array([has_face[rows].any() for rows in rows_of], dtype=bool),
        first=np.array([rows[0] for rows in rows_of], dtype=np.int64),
        sizes=np.array([len(rows) for rows in rows_of], dtype=np.int64),
    )


def _shown(key: Hashable) -> str:
    assert isinstance(key, tuple)
    if len(key) == 1:
        return f"video {key[0]}"
    video, frame = key
    return f"frame {frame}" + (f" of video {video}" if video else "")


def _expect_lengths(
    scores: NDArray, labels: NDArray, origins: Sequence[Origin | None], paths: Sequence[str]
) -> None:
    lengths = (len(scores), len(labels), len(origins), len(paths))
    if len(set(lengths)) > 1:
        raise ValueError(
            f"expected one score, label, origin and path per image, got {lengths}; pass the "
            "arrays of one set"
        )
