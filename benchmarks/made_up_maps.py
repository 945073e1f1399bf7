"""Testing images whose maps are made on the fly: ours, and with all maps stored.

Each function is for a process of its own (`child.run_function`), and says what that process held
before the first image (`base_mib`), its peak above that (`own_mib`), how long metrics took, and
what they were.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from clad.metrics.collector import PredictionCollector
from clad.metrics.evaluate import evaluate
from clad.types import Batch, Prediction

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
"""Environment of these processes: arrays from 1 MB on go back to the system when they are dropped.
Otherwise glibc keeps some of them, and peaks differ by 20 MiB from run to run."""

_BATCH = 8
_DISTINCT = 32
"""Noise images that all maps are shifted copies of: making them shall cost little."""


def batches(num_images: int, side: int) -> Iterator[tuple[Prediction, Batch]]:
    """Every third image has a defect, and a map of noise that is higher there."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((_DISTINCT, side, side), dtype=np.float32)
    for start in range(0, num_images, _BATCH):
        size = min(_BATCH, num_images - start)
        labels = np.arange(start, start + size) % 3 == 0
        masks = np.zeros((size, side, side), dtype=bool)
        for place in np.flatnonzero(labels):
            top, left = rng.integers(0, side * 3 // 4, 2)
            masks[place, top : top + side // 8, left : left + side // 6] = True
        maps = np.roll(noise[rng.integers(0, _DISTINCT, size)], int(rng.integers(side)), 1)
        maps += rng.normal(0, 0.05, (size, 1, 1)).astype(np.float32)
        maps += masks
        names = tuple(f"{start + n}.png" for n in range(size))
        batch = Batch(
            images=torch.zeros(size, 3, 1, 1, dtype=torch.uint8),
            labels=torch.from_numpy(labels.astype(np.int64)),
            masks=torch.from_numpy(masks),
            has_mask=torch.ones(size, dtype=torch.bool),
            categories=("part",) * size,
            defect_types=tuple("bent" if label else "good" for label in labels),
            paths=names,
        )
        scores = torch.from_numpy(maps.max(axis=(1, 2)).astype(np.float64))
        yield Prediction(scores, torch.from_numpy(maps)), batch


def ours(num_images: int, side: int) -> dict[str, float]:
    """As `clad test` does: batches come once, nothing of a report is left out."""
    base, seconds = peak_mib(), 0.0
    collector = PredictionCollector(for_report=True)
    for prediction, batch in batches(num_images, side):
        began = time.perf_counter()
        collector.update(prediction, batch)
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    found = evaluate(collector.result()).mean
    return _facts(base, seconds + time.perf_counter() - began, found)


def stored(num_images: int, side: int) -> dict[str, float]:
    """All maps and masks in lists, then the exact metrics, all from one sort."""
    from clad.metrics.functional.aupro import aupro_of, region_weights
    from clad.metrics.functional.ranking import rank
    from clad.metrics.levels import ranking_values

    base, (maps, masks) = peak_mib(), _all(num_images, side)
    began = time.perf_counter()
    all_maps, all_masks = np.concatenate(maps), np.concatenate(masks)
    ranking = rank(all_maps, all_masks)
    found = ranking_values("pixel", ranking)
    found["pixel_aupro"] = aupro_of(ranking, region_weights(all_masks))
    return _facts(base, time.perf_counter() - began, found)


def anomalib(num_images: int, side: int) -> dict[str, float]:
    """AUROC and AUPRO of anomalib, fed batch by batch."""
    from anomalib.metrics.aupro import _AUPRO
    from anomalib.metrics.auroc import _AUROC

    base, auroc, aupro, seconds = peak_mib(), _AUROC(), _AUPRO(fpr_limit=0.3), 0.0
    for prediction, batch in batches(num_images, side):
        assert prediction.maps is not None
        began = time.perf_counter()
        auroc.update(prediction.maps.flatten(), batch.masks.flatten().int())
        aupro.update(prediction.maps, batch.masks.int())
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    found = {"pixel_auroc": auroc.compute().item(), "pixel_aupro": aupro.compute().item()}
    return _facts(base, seconds + time.perf_counter() - began, found)


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _all(num_images: int, side: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    maps, masks = [], []
    for prediction, batch in batches(num_images, side):
        assert prediction.maps is not None
        maps.append(prediction.maps.numpy())
        masks.append(batch.masks.numpy())
    return maps, masks


def _facts(base: float, seconds: float, found: Mapping[str, float]) -> dict[str, float]:
    shown = {name: found[name] for name in ("pixel_auroc", "pixel_aupro")}
    return {"base_mib": base, "own_mib": peak_mib() - base, "metric_seconds": seconds, **shown}
