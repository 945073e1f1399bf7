"""Predictions of images with bright discs, with all their maps."""

from __future__ import annotations

import numpy as np
from collecting import Stored

SIZE = 64


def make_collected(categories=("mono", "poly"), per_category=40, seed=0, size=SIZE):
    """Images with a bright disc where the defect is; scores are the maxima of noisy maps."""
    rng = np.random.default_rng(seed)
    count = per_category * len(categories)
    labels = np.tile((np.arange(per_category) % 3 == 0).astype(np.int64), len(categories))
    rows, columns = np.mgrid[:size, :size]
    masks = np.zeros((count, size, size), dtype=bool)
    maps = rng.normal(1.0, 0.12, size=(count, size // 8, size // 8)).astype(np.float32)
    maps = np.kron(maps, np.ones((1, 8, 8), dtype=np.float32))
    for i in np.flatnonzero(labels):
        top, left = rng.integers(12, size - 12, size=2)
        distance = np.hypot(rows - top, columns - left)
        masks[i] = distance < rng.integers(4, 10)
        maps[i] += rng.uniform(0.0, 1.6) * np.exp(-((distance / 9) ** 2))
    return Stored(
        paths=tuple(f"images/{i:03d}.png" for i in range(count)),
        categories=tuple(np.repeat(categories, per_category).tolist()),
        defect_types=tuple("crack" if label else "good" for label in labels),
        labels=labels,
        scores=maps.max(axis=(1, 2)).astype(np.float64),
        has_mask=np.ones(count, dtype=bool),
        parts={"text": rng.normal(size=count), "memory": rng.normal(size=count)},
        maps=maps,
        masks=masks,
    )
