"""Stored images that something happened to before they were resized."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clad.data.dataset import SampleDataset
from clad.data.degrade import Degradation, degrade
from clad.data.images import ImageArray, Size, decode_image, resize_image
from clad.data.splits import partition
from clad.samples import Sample


class DegradedDataset(SampleDataset):
    """Items of samples whose images were degraded at their stored size; masks are as stored.

    Args:
        samples: What to load.
        size: (height, width) of the items.
        degradation: What happened to all of them, whatever their label; None leaves them.
        seed: Of the noise.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: Size,
        degradation: Degradation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(samples, size)
        self.degradation = degradation
        self.noise_seed = seed

    def _load_image(self, path: Path) -> ImageArray:
        stored = decode_image(path)
        if self.degradation is not None:
            stored = degrade(stored, self.degradation, self.noise_seed)
        return resize_image(stored, self.size)


def draw_samples(samples: Sequence[Sample], limit: int | None, seed: int) -> tuple[Sample, ...]:
    """About ``limit`` of the samples, with the share of each category and label; None keeps all.

    What must not be torn apart (a video, a person) stays together, so the number may differ.

    Raises:
        ValueError: If the limit is below 1.
    """
    if limit is None or limit >= len(samples):
        return tuple(samples)
    if limit < 1:
        raise ValueError(f"expected a limit of at least 1 image, got {limit}")
    share = limit / len(samples)
    return partition(samples, (share, 1 - share), seed)[0]
