"""How good probabilities are: Brier score, reliability and expected calibration error."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 10


class Reliability(NamedTuple):
    """Images by their probability, in bins of one width; empty bins are left out.

    Args:
        probability: (B,) mean probability in the bin.
        anomalous: (B,) share of anomalous images in it.
        num_images: (B,) int64 number of images in it.
    """

    probability: NDArray[np.float64]
    anomalous: NDArray[np.float64]
    num_images: NDArray[np.int64]


def brier_score(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean squared difference between probability and label; 0 is perfect, NaN without items.

    Args:
        probabilities: (N,) float in [0, 1].
        labels: (N,) 0 and 1.

    Raises:
        ValueError: If a probability lies outside [0, 1].

    Source: Brier, Verification of forecasts expressed in terms of probability (1950), in the form
        with one term per item (half of his).
    """
    _expect_probabilities(probabilities)
    if not len(labels):
        return math.nan
    return float(np.square(probabilities - labels).mean())


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], num_bins: int = NUM_BINS
) -> Reliability:
    """What was promised and what came, bin by bin; a bin takes in its lower edge, the last both.

    Args:
        probabilities: (N,) float in [0, 1].
        labels: (N,) 0 and 1.
        num_bins: Of equal width over [0, 1], at least 1.

    Raises:
        ValueError: If a probability lies outside [0, 1].
    """
    _expect_probabilities(probabilities)
    places = np.minimum((probabilities * num_bins).astype(np.int64), num_bins - 1)
    count = np.bincount(places, minlength=num_bins)
    filled = count > 0
    promised = np.bincount(places, weights=probabilities, minlength=num_bins)
    came = np.bincount(places, weights=labels.astype(np.float64), minlength=num_bins)
    size = count[filled]
    return Reliability(promised[filled] / size, came[filled] / size, size.astype(np.int64))


def expected_calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], num_bins: int = NUM_BINS
) -> float:
    """Mean over items of the gap between promise and outcome in their bin; NaN without items.

    It is never negative, so it is above 0 even for true probabilities: the more, the fewer items.

    Args:
        probabilities: (N,) float in [0, 1].
        labels: (N,) 0 and 1.
        num_bins: Of equal width over [0, 1], at least 1.

    Raises:
        ValueError: If a probability lies outside [0, 1].

    Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian
        binning (AAAI 2015), of the probability of being anomalous.
    """
    bins = reliability(probabilities, labels, num_bins)
    if not len(bins.num_images):
        return math.nan
    gaps = np.abs(bins.probability - bins.anomalous)
    return float((gaps * bins.num_images).sum() / bins.num_images.sum())


def _expect_probabilities(values: NDArray[np.float64]) -> None:
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"expected probabilities in [0, 1], got {values.min()} to {values.max()}; raw scores "
            "need a calibration first"
        )
