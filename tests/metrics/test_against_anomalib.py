"""Our numbers beside anomalib's raw metrics on the same arrays (its import takes ten seconds)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clad.metrics.functional.aupro import aupro
from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.average_precision import average_precision
from clad.metrics.functional.f1_max import f1_max

pytestmark = pytest.mark.slow


def blobs(seed, ties):
    rng = np.random.default_rng(seed)
    masks = np.zeros((6, 64, 64), dtype=bool)
    for image in masks[:4]:
        for _ in range(int(rng.integers(1, 4))):
            top, left = rng.integers(0, 50, size=2)
            height, width = rng.integers(1, 14, size=2)
            image[top : top + height, left : left + width] = True
    maps = rng.normal(size=masks.shape) + 1.5 * masks
    maps = np.round(maps * 3) / 3 if ties else maps
    return maps.astype(np.float32), masks


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_aupro_equals_anomalib(seed, ties, limit):
    from anomalib.metrics.aupro import _AUPRO

    maps, masks = blobs(seed, ties)
    theirs = _AUPRO(fpr_limit=limit)
    theirs.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
    # Theirs sums in float32.
    assert aupro(maps, masks, limit) == pytest.approx(theirs.compute().item(), abs=2e-4)


def test_aupro_of_a_constant_and_of_a_perfect_map_equals_anomalib():
    from anomalib.metrics.aupro import _AUPRO

    _, masks = blobs(0, ties=False)
    for maps in (np.ones(masks.shape, dtype=np.float32), masks.astype(np.float32)):
        theirs = _AUPRO(fpr_limit=0.3)
        theirs.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
        assert aupro(maps, masks) == pytest.approx(theirs.compute().item(), abs=1e-4)


@pytest.mark.parametrize("ties", [False, True])
def test_image_metrics_equal_anomalib(ties):
    from anomalib.metrics.aupr import _AUPR
    from anomalib.metrics.auroc import _AUROC
    from anomalib.metrics.f1_score import _F1Max

    rng = np.random.default_rng(1)
    labels = rng.random(500) < 0.3
    # anomalib squashes scores outside [0, 1] through a sigmoid; stay inside.
    scores = np.clip(rng.normal(0.4, 0.1, size=500) + 0.1 * labels, 0, 1).astype(np.float32)
    scores = np.round(scores, 2) if ties else scores
    for ours, theirs, tolerance in (
        (auroc, _AUROC(), 1e-5),
        (f1_max, _F1Max(), 1e-5),
        # theirs joins the points of the precision-recall curve by straight lines
        (average_precision, _AUPR(), 2e-2),
    ):
        theirs.update(torch.from_numpy(scores), torch.from_numpy(labels).int())
        value = float(theirs.compute())
        assert ours(scores, labels) == pytest.approx(value, abs=tolerance)
