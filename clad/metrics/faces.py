"""What is measured of forged faces besides: frames and videos, kinds of forgery, missing faces."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluation import Reasons, Values, macro_mean
from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.validate import undefined_reason
from clad.metrics.levels import level_metrics, threshold_metrics
from clad.metrics.settings import MetricSettings
from clad.metrics.video import Pooled, pool_frames, pool_videos
from clad.samples import Origin

FACE = "face"
"""The domain (``Sample.domain``) that these metrics are for."""
LEVELS = ("image", "frame", "video")
MANIPULATION_METRICS = ("auroc", "ap", "eer", "accuracy", "recall")

Rows = NDArray[np.int64]
LevelThresholds = Mapping[str, Mapping[str, float]]


class Predicted(Protocol):
    """Scores with their truth: fresh from a detector, or read from a run directory."""

    @property
    def paths(self) -> tuple[str, ...]:
        """N file names."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) 1 anomalous."""

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N,) raw."""

    @property
    def origins(self) -> tuple[Origin | None, ...]:
        """N frames and videos; may be empty."""

    @property
    def groups(self) -> tuple[str | None, ...]:
        """N persons or videos; may be empty."""


@dataclass(frozen=True)
class FaceMetrics:
    """What is added to the metrics of one category; fields as in ``Evaluation``."""

    values: Values
    reasons: Reasons
    per_manipulation: dict[str, Values] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def pool_levels(collected: Predicted, rows: Rows, settings: MetricSettings) -> dict[str, Pooled]:
    """Images (crops), frames and videos of some rows; images alone where no origin is known.

    Raises:
        ValueError: If labels differ within a frame or video.
    """
    scores, labels = collected.scores[rows], collected.labels[rows]
    origins = [collected.origins[row] for row in rows] if collected.origins else []
    has_face = np.array([origin is None or origin.has_face for origin in origins], dtype=bool)
    images = Pooled(
        scores,
        labels,
        has_face if origins else np.ones(len(rows), dtype=bool),
        np.arange(len(rows)),
        np.ones(len(rows), dtype=np.int64),
    )
    if not any(origin is not None for origin in origins):
        return {"image": images}
    paths = [collected.paths[row] for row in rows]
    frames = pool_frames(scores, labels, origins, paths)
    videos = pool_videos(scores, labels, origins, paths, settings)
    return {"image": images, "frame": frames, "video": videos}


def groups_to_draw(predicted: Predicted) -> tuple[str | None, ...] | None:
    """What a bootstrap must draw together: the group, else the video, else the frame of an image.

    Returns:
        N names, None where an image stands alone; None where all do.
    """
    size = len(predicted.paths)
    groups = predicted.groups or (None,) * size
    origins = predicted.origins or (None,) * size
    found: list[str | None] = []
    for group, origin in zip(groups, origins, strict=True):
        if group is None and origin is not None:
            group = f"frame {origin.frame}" if origin.video is None else f"video {origin.video}"
        found.append(group)
    return None if all(name is None for name in found) else tuple(found)


def levels_that_differ(pooled: Iterable[Mapping[str, Pooled]]) -> tuple[str, ...]:
    """Levels worth reporting: ``image``, and those where some category has fewer rows than below.

    Args:
        pooled: ``pool_levels`` of each category.
    """
    several = [levels for levels in pooled if len(levels) > 1]
    frames = any(len(each["frame"]) < len(each["image"]) for each in several)
    videos = any(len(each["video"]) < len(each["frame"]) for each in several)
    return ("image", *(("frame",) if frames else ()), *(("video",) if videos else ()))


def evaluate_faces(
    collected: CollectedPredictions,
    categories: Iterable[str],
    thresholds: LevelThresholds | None,
    settings: MetricSettings,
) -> dict[str, FaceMetrics]:
    """Metrics of the categories that show faces, beside those of any image.

    Args:
        collected: Predictions of all categories.
        categories: Those of the domain ``face``.
        thresholds: Level -> category -> threshold fitted on validation images of that level; None
            where none were fitted at all.
        settings: How frames become videos, and which photographs are natural.
    """
    names = list(categories)
    if not names:
        return {}
    rows_of = {name: collected.rows_of(name) for name in names}
    levels_of = {name: pool_levels(collected, rows, settings) for name, rows in rows_of.items()}
    levels = levels_that_differ(levels_of.values())
    is_natural = natural_photographs(collected, settings.natural)
    found: dict[str, FaceMetrics] = {}
    for name in names:
        own = None if thresholds is None else {t: row.get(name) for t, row in thresholds.items()}
        pooled = {level: levels_of[name].get(level, levels_of[name]["image"]) for level in levels}
        values, reasons = _of_levels(pooled, own)
        faces_only = _faces_only(collected, rows_of[name], levels, settings)
        counts = _counts(levels_of[name])
        if counts:
            values["no_face_share"] = counts["no_face"] / counts["frames"]
            values |= faces_only[0]
            reasons |= faces_only[1]
        if is_natural[rows_of[name]].any():
            natural = rows_of[name][is_natural[rows_of[name]]]
            specificity = _natural_specificity(collected, natural, own, settings)
            values["natural_specificity"] = specificity
            if math.isnan(specificity):
                reasons["natural_specificity"] = "no threshold was fitted"
        kinds = _manipulations(collected, rows_of[name], levels, own, settings)
        mean, mean_reasons = _mean_of_kinds(kinds, collected.labels[rows_of[name]])
        found[name] = FaceMetrics({**values, **mean}, {**reasons, **mean_reasons}, kinds, counts)
    return found


def natural_photographs(collected: CollectedPredictions, names: Iterable[str]) -> NDArray[np.bool_]:
    """(N,) which images are real, and of a category, group or folder of such a name.

    Folders count below the one that all images share, so that where the data lie does not matter.
    """
    wanted = {name.casefold() for name in names}
    groups = collected.groups or (None,) * len(collected)
    found = np.zeros(len(collected), dtype=bool)
    if not wanted:
        return found
    absolute = [Path(path).absolute() for path in collected.paths]
    base = os.path.commonpath([path.parent for path in absolute])
    for row in np.flatnonzero(collected.labels == 0):
        folders = absolute[row].relative_to(base).parts[:-1]
        own = (collected.categories[row], groups[row] or "", *folders)
        found[row] = any(name.casefold() in wanted for name in own)
    return found


def _of_levels(
    pooled: Mapping[str, Pooled], thresholds: Mapping[str, float | None] | None
) -> tuple[Values, Reasons]:
    values: Values = {}
    reasons: Reasons = {}
    for level, each in pooled.items():
        found = [level_metrics(level, each.scores, each.labels)]
        if thresholds is not None:
            limit = thresholds.get(level)
            found.append(threshold_metrics(level, each.scores, each.labels, limit))
        for more, why in found:
            values |= more
            reasons |= why
    return values, reasons


def _counts(levels: Mapping[str, Pooled]) -> dict[str, int]:
    if len(levels) == 1:
        return {}
    counts = {f"{level}s": len(each) for level, each in levels.items()}
    return {**counts, "no_face": int((~levels["frame"].has_face).sum())}


def _faces_only(
    collected: CollectedPredictions, rows: Rows, levels: Iterable[str], settings: MetricSettings
) -> tuple[Values, Reasons]:
    """AUROC without the images that stand in for a face that was not found."""
    origins = [collected.origins[row] for row in rows] if collected.origins else [None] * len(rows)
    has_face = np.array([origin is None or origin.has_face for origin in origins], dtype=bool)
    pooled = pool_levels(collected, rows[has_face], settings)
    values: Values = {}
    reasons: Reasons = {}
    for level in levels:
        name, each = f"{level}_auroc_faces_only", pooled.get(level, pooled["image"])
        values[name] = auroc(each.scores, each.labels)
        if math.isnan(values[name]):
            reasons[name] = f"{undefined_reason(each.labels, level)} with a face"
    return values, reasons


def _natural_specificity(
    collected: CollectedPredictions,
    rows: Rows,
    thresholds: Mapping[str, float | None] | None,
    settings: MetricSettings,
) -> float:
    """Share of natural photographs (frames, where faces were cut out) below the threshold."""
    pooled = pool_levels(collected, rows, settings)
    level = "frame" if "frame" in pooled else "image"
    limit = None if thresholds is None else thresholds.get(level)
    return math.nan if limit is None else float((pooled[level].scores < limit).mean())


def _manipulations(
    collected: CollectedPredictions,
    rows: Rows,
    levels: Iterable[str],
    thresholds: Mapping[str, float | None] | None,
    settings: MetricSettings,
) -> dict[str, Values]:
    """Each kind of forgery against all real images."""
    labels = collected.labels[rows]
    kinds = np.array([collected.defect_types[row] for row in rows])
    found: dict[str, Values] = {}
    for kind in dict.fromkeys(kinds[labels == 1].tolist()):
        chosen = rows[(labels == 0) | (kinds == kind)]
        pooled = pool_levels(collected, chosen, settings)
        of_level = {level: pooled.get(level, pooled["image"]) for level in levels}
        values, _ = _of_levels(of_level, thresholds)
        wanted = [f"{level}_{metric}" for level in levels for metric in MANIPULATION_METRICS]
        found[kind] = {name: values[name] for name in wanted if name in values}
    return found


def _mean_of_kinds(kinds: Mapping[str, Values], labels: NDArray) -> tuple[Values, Reasons]:
    mean, _ = macro_mean(kinds.values())
    values = {f"manipulation_mean_{name}": value for name, value in mean.items()}
    reasons: Reasons = {}
    for name, value in mean.items():
        if math.isnan(value):
            level = name.partition("_")[0]
            without = f"no threshold was fitted on validation {level}s"
            reasons[f"manipulation_mean_{name}"] = undefined_reason(labels, level) or without
    return values, reasons
