"""Settings of the feature cache, apart from the trainer that fills it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clad.checks import expect_choice, expect_range
from clad.data.feature_store import StoredPrecision


@dataclass(frozen=True)
class FeatureCache:
    """Where the features of training and validation images are kept.

    Args:
        folder: Folder of the entries; any number of runs and recipes may share it.
        max_gib: Most that the folder may hold, in GiB; a run that would need more is refused before
            it starts.
        precision: ``exact`` keeps every bit; ``half`` rounds to float16 and takes half the disk.
    """

    folder: Path
    max_gib: float = 20.0
    precision: StoredPrecision = "exact"

    def __post_init__(self) -> None:
        expect_range("feature_cache.max_gib", self.max_gib, 0, float("inf"))
        expect_choice("feature_cache.precision", self.precision, ("exact", "half"))
