"""What a raw score means: its place among normal images, and the probability of an anomaly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clad.metrics.functional.platt import Logistic
from clad.metrics.normal_scores import FEWEST_NORMALS, NormalScores
from clad.metrics.probability import Probability, fit_probability
from clad.metrics.settings import MetricSettings


class Standing(NamedTuple):
    """Where a score stands; None where it is unknown.

    Args:
        percentile: So many percent of the normal validation images score lower, 0 to 100.
        false_alarms_per_1000: With the threshold at this score, at most so many of 1,000 new normal
            images are expected to be called anomalous. Of a score that no normal validation image
            reaches (percentile 100), it is the smallest number that their count can support.
        probability: Of being anomalous, in [0, 1].
    """

    percentile: float | None = None
    false_alarms_per_1000: float | None = None
    probability: float | None = None


NO_STANDING = Standing()


@dataclass(frozen=True)
class Calibration:
    """What validation images of one category say about raw scores.

    Args:
        normals: Scores of the normal ones.
        probability: From labelled ones; None where they do not support one.
        probability_source: What it was fitted on, in words; why there is none.
    """

    normals: NormalScores
    probability: Probability | None
    probability_source: str

    def standing(self, score: float) -> Standing:
        """Percentile, expected false alarms and probability of one raw score."""
        scores = np.array([score])
        probability = None if self.probability is None else float(self.probability(scores)[0])
        return Standing(
            float(self.normals.percentile(scores)[0]),
            float(self.normals.false_alarms_per_1000(scores)[0]),
            probability,
        )

    def with_settings(self, settings: MetricSettings, unit: str = "image") -> Calibration:
        """The same for another prevalence, or without probabilities."""
        if self.probability is None:
            return self
        if settings.probability == "none":
            _, reason = fit_probability(np.empty(0), np.empty(0, np.int64), "none")
            return replace(self, probability=None, probability_source=reason)
        if settings.prevalence == self.probability.prevalence:
            return self
        found = replace(self.probability, prevalence=settings.prevalence)
        return replace(self, probability=found, probability_source=found.source(unit))

    def to_plain(self) -> dict[str, Any]:
        """Plain values for a checkpoint, every bit kept."""
        found = self.probability
        plain = {
            "normal_scores": list(self.normals.values),
            "num_normal": self.normals.count,
            "probability_source": self.probability_source,
            "probability": None,
        }
        if found is None:
            return plain
        return {
            **plain,
            "probability": {
                "method": found.method,
                "num_normal": found.num_normal,
                "num_anomalous": found.num_anomalous,
                "logistic": None if found.logistic is None else list(found.logistic),
                "knots": [list(knot) for knot in found.knots],
                "prevalence": found.prevalence,
            },
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Calibration:
        """The calibration that ``to_plain`` wrote."""
        normals = NormalScores(tuple(plain["normal_scores"]), plain["num_normal"])
        stored, found = plain["probability"], None
        if stored is not None:
            logistic = stored["logistic"]
            found = Probability(
                stored["method"],
                stored["num_normal"],
                stored["num_anomalous"],
                None if logistic is None else Logistic(*logistic),
                tuple((x, y) for x, y in stored["knots"]),
                stored["prevalence"],
            )
        return cls(normals, found, plain["probability_source"])


def fit_calibrations(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    categories: tuple[str, ...],
    settings: MetricSettings,
    unit: str = "image",
) -> dict[str, Calibration]:
    """Of every category with at least ``FEWEST_NORMALS`` normal validation images.

    Args:
        scores: (N,) raw scores of validation images.
        labels: (N,) 1 anomalous.
        categories: N names.
        settings: ``probability`` and ``prevalence``.
        unit: What one score stands for, for the sources.
    """
    found = {}
    of_item = np.asarray(categories)
    for category in dict.fromkeys(categories):
        own, truth = scores[of_item == category], labels[of_item == category]
        if (truth == 0).sum() < FEWEST_NORMALS:
            continue
        probability = fit_probability(own, truth, settings.probability, settings.prevalence, unit)
        found[category] = Calibration(NormalScores.of(own[truth == 0]), *probability)
    return found


def describe_calibrations(calibrations: Mapping[str, Calibration], unit: str = "image") -> str:
    """One sentence for people: on what percentiles and probabilities rest; why there are none."""
    if not calibrations:
        return f"none: no scores of normal validation {unit}s are kept"
    counts = [each.normals.count for each in calibrations.values()]
    low, high = min(counts), max(counts)
    shown = f"{low}" if low == high else f"{low} to {high}"
    each = " per category" if len(calibrations) > 1 else ""
    coarsest = max(each.normals.resolution for each in calibrations.values())
    text = (
        f"percentile among {shown} normal validation {unit}s{each}, false alarms no finer than "
        f"{coarsest:.3g} per 1,000"
    )
    sources: dict[str, list[str]] = {}
    for name, own in calibrations.items():
        sources.setdefault(own.probability_source, []).append(name)
    if len(sources) == 1:
        return f"{text}; probability {next(iter(sources))}"
    named = (f"of {', '.join(names)} {source}" for source, names in sources.items())
    return f"{text}; probability {', '.join(named)}"
