"""All that is said of one image, in plain values: what tables, pictures and explanations read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from clad.explain.vocabulary import RankedDescription
from clad.metrics.score_calibration import NO_STANDING, Standing
from clad.types import Region


@dataclass(frozen=True)
class ScoredImage:
    """One image with its score, and where and what it was scored for.

    Args:
        name: Its path, or ``image N`` for the N-th one that has none.
        category: What it was taken for.
        score: Raw; larger = more anomalous.
        image_size: (height, width) in pixels, upright.
        model_map: (h, w) float32 at the size that the model works at; None for heads without map.
        regions: Areas of the map at half maximum in pixels of the image, hottest first. Good images
            have them, too: it is the score that says whether something is wrong.
        words: The best description of each defect type, most similar to the whole image first;
            empty where the recipe has no descriptions.
        region_words: The same of the hottest region.
        threshold: Score at or above which it is called anomalous; None where none was fitted.
        standing: What validation says about the score; three times None where it says nothing.
        picture: (h', w') uint8 grey picture of the image, for heat maps to be drawn on; None where
            none was asked for.
    """

    name: str
    category: str
    score: float
    image_size: tuple[int, int]
    model_map: NDArray[np.float32] | None = None
    regions: tuple[Region, ...] = ()
    words: tuple[RankedDescription, ...] = ()
    region_words: tuple[RankedDescription, ...] = ()
    threshold: float | None = None
    standing: Standing = NO_STANDING
    picture: NDArray[np.uint8] | None = None

    @property
    def is_anomalous(self) -> bool | None:
        """The verdict; None without a threshold."""
        return None if self.threshold is None else self.score >= self.threshold

    @property
    def percentile(self) -> float | None:
        """So many percent of the normal validation images score lower."""
        return self.standing.percentile

    @property
    def false_alarms_per_1000(self) -> float | None:
        """At most so many of 1,000 new normal images are expected to score as high."""
        return self.standing.false_alarms_per_1000

    @property
    def probability(self) -> float | None:
        """Of being anomalous, in [0, 1]; None without labelled validation images."""
        return self.standing.probability

    @property
    def map(self) -> NDArray[np.float32] | None:
        """(height, width) float32 at the size of the image, made at each call: bilinear."""
        if self.model_map is None:
            return None
        small = torch.from_numpy(self.model_map)[None, None]
        return functional.interpolate(
            small, self.image_size, mode="bilinear", align_corners=False
        ).numpy()[0, 0]

    def without_map(self) -> ScoredImage:
        """A copy that takes little memory."""
        return replace(self, model_map=None, picture=None)
