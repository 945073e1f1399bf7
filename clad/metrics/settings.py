"""Choices about metrics that a recipe can make; none of them changes a score of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from clad.checks import expect_range

VideoScore = Literal["mean", "max", "top_k"]
ThresholdRule = Literal["false_alarms", "balanced_accuracy", "f1"]


@dataclass(frozen=True)
class MetricSettings:
    """How frames become videos, how thresholds are fitted, which photographs are natural.

    Args:
        video_score: Score of a video: ``mean`` of its frames, their ``max``, or the mean of the
            ``top_k`` largest.
        top_k: How many frames ``top_k`` takes, at least 1.
        threshold_rule: ``false_alarms`` fits thresholds to the false alarm budget, on normal
            validation images alone; ``balanced_accuracy`` and ``f1`` take the threshold with the
            best value on labelled validation images, which must hold both kinds.
        shared_threshold: Whether one threshold is fitted on the validation images of all categories
            and used for each of them, also for those without validation images: detectors of
            generated images are tested on other generators than they were trained on.
        natural: Names of categories, groups or folders of test images whose real ones are natural
            photographs; the share of them that is not called fake is ``natural_specificity``.
        training_generators: Names of generators that the detector is trained on; they are in no
            mean of a family of generators.
    """

    video_score: VideoScore = "mean"
    top_k: int = 5
    threshold_rule: ThresholdRule = "false_alarms"
    shared_threshold: bool = False
    natural: tuple[str, ...] = ("natural",)
    training_generators: tuple[str, ...] = ("progan",)

    def __post_init__(self) -> None:
        expect_range("top_k", self.top_k, 1, float("inf"))
        for name, kind in (("video_score", VideoScore), ("threshold_rule", ThresholdRule)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"expected {name} among {', '.join(get_args(kind))}, got "
                    f"{getattr(self, name)!r}"
                )


STANDARD = MetricSettings()
