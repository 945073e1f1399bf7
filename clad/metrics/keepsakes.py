"""Small copies of the maps and masks that a report may show, chosen while the images pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clad.metrics.score_counts import ScoreCounts

PER_CATEGORY = 8
"""Largest number of worst cases that a report shows of a category, and of best hits."""
MAX_SIDE_PX = 256
"""Longest side of what it shows."""


@dataclass(frozen=True)
class Keepsake:
    """An image that may be shown.

    Args:
        row: Its position among the predictions.
        score: Raw.
        label: 1 anomalous.
        small_map: (h, w) float32, raw.
        packed_mask: (h x w / 8,) uint8, the bits of the mask.
    """

    row: int
    score: float
    label: int
    small_map: NDArray[np.float32]
    packed_mask: NDArray[np.uint8]

    @property
    def small_mask(self) -> NDArray[np.bool_]:
        """(h, w) bool."""
        shape = self.small_map.shape
        bits = np.unpackbits(self.packed_mask, count=self.small_map.size)
        return bits.reshape(shape).astype(bool)


class Keepsakes:
    """What a report needs of maps and masks, in memory that hardly grows with the images.

    Of each category it keeps the images that can still become worst cases or best hits: at most 20,
    at most 256 pixels long. Of every image it keeps one number, the largest of its map.
    """

    def __init__(self) -> None:
        self.unmasked = ScoreCounts()
        """Map values of images without a known mask, which no ``PixelState`` has seen."""
        self._map_size: tuple[int, int] | None = None
        self._peaks: list[float] = []
        self._num_images = 0
        self._kept: dict[str, list[Keepsake]] = {}

    def __len__(self) -> int:
        return self._num_images

    def update(
        self,
        scores: NDArray[np.float64],
        labels: NDArray[np.int64],
        categories: Sequence[str],
        maps: NDArray[np.float32],
        masks: NDArray[np.bool_],
        has_mask: NDArray[np.bool_],
    ) -> None:
        """Look at a batch.

        Args:
            scores: (B,) raw.
            labels: (B,) 1 anomalous.
            categories: B names.
            maps: (B, H, W) float32.
            masks: (B, H, W) bool.
            has_mask: (B,) bool, whether the mask is known.

        Raises:
            ValueError: If maps are of another size than earlier ones.
        """
        self._expect_size((maps.shape[1], maps.shape[2]))
        self._peaks += maps.max(axis=(1, 2)).tolist()
        if not has_mask.all():
            self.unmasked.count(maps[~has_mask].reshape(-1), maps[:0].reshape(-1))
        of_image = np.asarray(categories)
        for category in dict.fromkeys(categories):
            members = np.flatnonzero(of_image == category)
            kept = self._kept.get(category, [])
            all_scores = np.array([*(each.score for each in kept), *scores[members]])
            all_labels = np.array([*(each.label for each in kept), *labels[members]])
            chosen = []
            for place in _may_be_shown(all_scores, all_labels):
                if place < len(kept):
                    chosen.append(kept[place])
                    continue
                own = members[place - len(kept)]
                bits = np.packbits(self._small_mask(masks[own]))
                row, score, label = self._num_images + own, scores[own], labels[own]
                small = self._small_map(maps[own])
                chosen.append(Keepsake(int(row), float(score), int(label), small, bits))
            self._kept[category] = chosen
        self._num_images += len(maps)

    def merge(self, other: Keepsakes) -> None:
        """Take in what another one has seen, behind what this one has.

        Raises:
            ValueError: If their maps differ in size.
        """
        if other._map_size is None:
            return
        self._expect_size(other._map_size)
        self.unmasked.merge(other.unmasked)
        self._peaks += other._peaks
        for category, more in other._kept.items():
            moved = [replace(each, row=each.row + self._num_images) for each in more]
            both = [*self._kept.get(category, []), *moved]
            scores = np.array([each.score for each in both])
            labels = np.array([each.label for each in both])
            self._kept[category] = [both[place] for place in _may_be_shown(scores, labels)]
        self._num_images += other._num_images

    @property
    def peaks(self) -> NDArray[np.float32]:
        """(N,) largest value of each map."""
        return np.array(self._peaks, dtype=np.float32)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the copies: the maps' own, or with a longest side of 256 pixels."""
        height, width = self._map_size or (MAX_SIDE_PX, MAX_SIDE_PX)
        shrink = min(1.0, MAX_SIDE_PX / max(height, width))
        return max(1, round(height * shrink)), max(1, round(width * shrink))

    def by_row(self) -> dict[int, Keepsake]:
        """Every image that is kept, by its position among the predictions."""
        return {each.row: each for kept in self._kept.values() for each in kept}

    def _expect_size(self, size: tuple[int, int]) -> None:
        if self._map_size not in (None, size):
            raise ValueError(
                f"expected anomaly maps of one size, got {self._map_size} and {size}; "
                "resize all images alike (data.image_size)"
            )
        self._map_size = size

    def _small_map(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        size = self.size[::-1]
        resized = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
        return np.array(resized)

    def _small_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        resized = Image.fromarray(mask).resize(self.size[::-1], Image.Resampling.NEAREST)
        return np.asarray(resized, dtype=bool)


def _may_be_shown(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> list[int]:
    """Positions of images that ``choose_gallery`` may pick, whatever follows them.

    Worst cases are ``PER_CATEGORY`` / 2 of either label. The best hits are the highest-scoring
    anomalous images that are no worst cases, so as many more of those are kept.
    """
    half = PER_CATEGORY // 2
    rising = np.argsort(scores, kind="stable")
    falling = np.argsort(-scores, kind="stable")
    missed = rising[labels[rising] == 1][:half]
    alarms = falling[labels[falling] == 0][:half]
    hits = falling[labels[falling] == 1][: PER_CATEGORY + half]
    return sorted({*missed.tolist(), *alarms.tolist(), *hits.tolist()})
