"""Which validation scores speak of a photo, and which of a video."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from clad.cli.standing import standing_cells, standing_phrase
from clad.forensics import Forensics
from clad.metrics.collector import CollectedPredictions
from clad.metrics.score_calibration import NO_STANDING, Standing
from clad.metrics.settings import STANDARD, MetricSettings
from clad.samples import Origin
from clad.tasks.level_thresholds import fit_level_thresholds


def forensics(settings=STANDARD, origins=True, **rule) -> Forensics:
    size = 120
    collected = CollectedPredictions(
        paths=tuple(f"{n}.png" for n in range(size)),
        categories=("face",) * size,
        defect_types=("good",) * size,
        labels=np.zeros(size, dtype=np.int64),
        scores=np.random.default_rng(0).normal(size=size),
        has_mask=np.zeros(size, dtype=bool),
        origins=tuple(Origin(str(n // 2), f"v{n // 6}") for n in range(size)) if origins else (),
    )
    fitted = fit_level_thresholds(collected, 0.1, settings, ("face",))
    task = SimpleNamespace(thresholds_fitted=fitted, metrics=settings)
    return Forensics(SimpleNamespace(task=task, categories=("face",)), None, **rule)


def test_a_photo_stands_among_frames_and_a_video_among_videos() -> None:
    found = forensics()
    levels = found.detector.task.thresholds_fitted.levels
    for level, asked in (("frame", 0.8), ("video", 0.8)):
        assert found._standing(asked, level) == levels[level].standing("face", asked)
    assert found._standing(0.8, "frame") != found._standing(0.8, "video")


def test_a_video_scored_by_another_rule_has_no_standing() -> None:
    assert forensics(rule="max")._standing(0.8, "video") == NO_STANDING
    settings = MetricSettings(video_score="top_k", top_k=3)
    assert forensics(settings, rule="top_k", top_k=5)._standing(0.8, "video") == NO_STANDING
    same = forensics(settings, rule="top_k", top_k=3)._standing(0.8, "video")
    assert same.percentile is not None


def test_without_frames_a_photo_stands_among_images() -> None:
    found = forensics(origins=False)
    fitted = found.detector.task.thresholds_fitted
    assert found._standing(0.8, "frame") == fitted.standing("face", 0.8)
    assert found._standing(0.8, "video") == NO_STANDING


@pytest.mark.parametrize(
    ("standing", "cells", "phrase"),
    [
        (Standing(100.0, 50.0), ("100.0", "<50", "-"),
         "above 100.0 % of normal faces, <50 false alarms/1000"),
        (Standing(99.97, 1.3, 0.004), ("99.9", "1.3", "0.004"),
         "above 99.9 % of normal faces, 1.3 false alarms/1000, probability 0.004"),
        (Standing(50.0, 512.3, 0.996), ("50.0", "512", "0.99"),
         "above 50.0 % of normal faces, 512 false alarms/1000, probability 0.99"),
        (NO_STANDING, ("-", "-", "-"), ""),
    ],
)  # fmt: skip
def test_standings_in_short(standing, cells, phrase) -> None:
    assert tuple(standing_cells(standing).values()) == cells
    assert standing_phrase(standing, "face") == phrase
