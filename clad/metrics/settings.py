"""Choices about metrics that a recipe can make; none of them changes a score of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from clad.checks import expect_range

VideoScore = Literal["mean", "max", "top_k"]
ThresholdRule = Literal["false_alarms", "balanced_accuracy", "f1", "given"]
ProbabilityMethod = Literal["none", "platt", "isotonic", "auto"]


@dataclass(frozen=True)
class MetricSettings:
    """How frames become videos, thresholds and probabilities are fitted, which photos are natural.

    Args:
        video_score: Score of a video: ``mean`` of its frames, their ``max``, or the mean of the
            ``top_k`` largest.
        top_k: How many frames ``top_k`` takes, at least 1.
        threshold_rule: ``false_alarms`` fits thresholds to the false alarm budget, on normal
            validation images alone; ``balanced_accuracy`` and ``f1`` take the threshold with the
            best value on labelled validation images, which must hold both kinds; ``given`` takes
            ``threshold``, also in place of those in a checkpoint.
        shared_threshold: Whether one threshold is fitted on the validation images of all categories
            and used for each of them, also for those without validation images: detectors of
            generated images are tested on other generators than they were trained on.
        threshold: With the rule ``given``: one raw score for all categories (and, where there are
            any, their frames and videos), or category name -> raw score.
        probability: How a score becomes the probability of being anomalous, on labelled validation
            images: ``platt``, a logistic curve; ``isotonic``, any rising curve; ``auto``, isotonic
            from 500 images of each kind on, Platt's below. None with fewer than 20 of each kind.
        prevalence: Share of anomalous images that probabilities are for, in (0, 1); None leaves
            them at that of the validation images.
        num_bins: Most bins of the histogram of map values that pixel metrics come from, per
            category; at least 256. One takes 28 bytes.
        published_pro: Whether ``pixel_aupro_200`` is taken: AUPRO with 200 thresholds, as the code
            of APRIL-GAN and AnomalyCLIP computes it, for numbers beside theirs.
        aupimo: Whether ``pixel_aupimo`` is taken, the overlap at very few false alarms on normal
            images (arXiv:2401.01984); a second histogram is kept for it.
        natural: Names of categories, groups or folders of test images whose real ones are natural
            photographs; the share of them that is not called fake is ``natural_specificity``.
        training_generators: Names of generators that the detector is trained on; they are in no
            mean of a family of generators.
    """

    video_score: VideoScore = "mean"
    top_k: int = 5
    threshold_rule: ThresholdRule = "false_alarms"
    shared_threshold: bool = False
    threshold: float | Mapping[str, float] | None = None
    probability: ProbabilityMethod = "auto"
    prevalence: float | None = None
    num_bins: int = 8192
    published_pro: bool = False
    aupimo: bool = False
    natural: tuple[str, ...] = ("natural",)
    training_generators: tuple[str, ...] = ("progan",)

    def __post_init__(self) -> None:
        expect_range("top_k", self.top_k, 1, float("inf"))
        expect_range("num_bins", self.num_bins, 256, float("inf"))
        chosen = {
            "video_score": VideoScore,
            "threshold_rule": ThresholdRule,
            "probability": ProbabilityMethod,
        }
        for name, kind in chosen.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"expected {name} among {', '.join(get_args(kind))}, got "
                    f"{getattr(self, name)!r}"
                )
        if (self.threshold is not None) != (self.threshold_rule == "given"):
            raise ValueError(
                "expected model.metrics.threshold with threshold_rule: given, and only then; got "
                f"threshold {self.threshold} with the rule {self.threshold_rule}"
            )
        given = self.threshold if isinstance(self.threshold, Mapping) else {"": self.threshold}
        if not all(value is None or math.isfinite(value) for value in given.values()):
            raise ValueError(f"expected finite thresholds, got {self.threshold}")
        if self.prevalence is not None:
            expect_range("prevalence", self.prevalence, 1e-9, 1 - 1e-9)


STANDARD = MetricSettings()
