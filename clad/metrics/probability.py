"""From a raw score to the probability of being anomalous, fitted on labelled validation images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clad.metrics.functional.isotonic import Knots, apply_isotonic, fit_isotonic
from clad.metrics.functional.platt import Logistic, apply_platt, fit_platt
from clad.metrics.settings import ProbabilityMethod

FEWEST_OF_EACH = 20
"""Normal and anomalous images that Platt's two numbers take."""
FEWEST_FOR_ISOTONIC = 500
"""Of each kind: from some 1,000 images on isotonic regression is as good as Platt's curve or
better, with fewer it overfits (Niculescu-Mizil and Caruana, Predicting good probabilities with
supervised learning, ICML 2005; scikit-learn's documentation advises against it with far fewer)."""

Method = Literal["platt", "isotonic"]


@dataclass(frozen=True)
class Probability:
    """A rising curve from raw scores to probabilities.

    A probability is right for one share of anomalous images only, the prevalence: at first that of
    the images it was fitted on. Another one re-weights the odds by Bayes' rule, which takes for
    granted that normal and anomalous images score as they did.

    Args:
        method: How it was fitted.
        num_normal: Normal images it was fitted on.
        num_anomalous: Anomalous images it was fitted on.
        logistic: Platt's curve; None for ``isotonic``.
        knots: Of ``isotonic``; empty for Platt's.
        prevalence: Share of anomalous images that it is for, in (0, 1); None as fitted.
    """

    method: Method
    num_normal: int
    num_anomalous: int
    logistic: Logistic | None = None
    knots: Knots = ()
    prevalence: float | None = None

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) probabilities in [0, 1] of (N,) raw scores."""
        if self.logistic is not None:
            found = apply_platt(self.logistic, scores)
        else:
            found = apply_isotonic(self.knots, scores)
        if self.prevalence is None:
            return found
        anomalous = found * (self.prevalence / self.fitted_prevalence)
        normal = (1 - found) * ((1 - self.prevalence) / (1 - self.fitted_prevalence))
        return anomalous / (anomalous + normal)

    @property
    def fitted_prevalence(self) -> float:
        """Share of anomalous images among those it was fitted on."""
        return self.num_anomalous / (self.num_normal + self.num_anomalous)

    def source(self, unit: str = "image") -> str:
        """What it was fitted on, and for which share of anomalous images it is."""
        name = "Platt's logistic curve" if self.method == "platt" else "isotonic regression"
        fitted = f"{self.fitted_prevalence:.1%}"
        text = f"{name} on {self.num_normal} normal and {self.num_anomalous} anomalous validation "
        if self.prevalence is None:
            return text + f"{unit}s; right only where {fitted} of the {unit}s are anomalous"
        return text + f"{unit}s, re-weighted from {fitted} to {self.prevalence:.3g} anomalous"


def fit_probability(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    method: ProbabilityMethod,
    prevalence: float | None = None,
    unit: str = "image",
) -> tuple[Probability | None, str]:
    """The curve and its source in words; None, and why, where labelled images do not support one.

    Args:
        scores: (N,) raw, of validation images.
        labels: (N,) 1 anomalous.
        method: ``auto`` takes ``isotonic`` from ``FEWEST_FOR_ISOTONIC`` of each kind on.
        prevalence: Share of anomalous images that it shall be for; None leaves that of the images.
        unit: What one score stands for, for the source.
    """
    if method == "none":
        return None, "none: switched off (model.metrics.probability)"
    num_anomalous = int((labels == 1).sum())
    num_normal = len(labels) - num_anomalous
    if not num_anomalous:
        return None, (
            f"none: no anomalous validation {unit}s, and normal ones alone do not say how likely "
            "an anomaly is"
        )
    fewest = min(num_normal, num_anomalous)
    if fewest < FEWEST_OF_EACH:
        return None, (
            f"none: {num_normal} normal and {num_anomalous} anomalous validation {unit}s, at least "
            f"{FEWEST_OF_EACH} of each are needed"
        )
    if method == "isotonic" or (method == "auto" and fewest >= FEWEST_FOR_ISOTONIC):
        knots = fit_isotonic(scores, labels)
        found = Probability("isotonic", num_normal, num_anomalous, None, knots, prevalence)
        rises = knots[-1][1] > knots[0][1]
    else:
        curve = fit_platt(scores, labels)
        found = Probability("platt", num_normal, num_anomalous, curve, (), prevalence)
        rises = curve.slope > 0
    if not rises:
        return None, f"none: anomalous validation {unit}s do not score higher than normal ones"
    return found, found.source(unit)
