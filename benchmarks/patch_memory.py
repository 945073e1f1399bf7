"""The peer of the benchmarks: a plain patch memory, written without any of clad's heads.

Nearest Euclidean distance to 8,000 random patches of the normal training images; tokens of strides
8 and 16, averaged over 3 x 3; image score = maximum; map = distances enlarged and blurred.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from clad.cli.session import Session
from clad.metrics.collector import CollectedPredictions, PredictionCollector
from clad.types import Batch, Prediction

_BANK = 8000
_LAYERS = (0, 1)
"""Strides 8 and 16 of the recipes' tower."""
_SIGMA_PX = 4.0


@torch.inference_mode()
def memory_predictions(session: Session) -> CollectedPredictions:
    """Scores and maps of all test images of a session's data, with its tower."""
    session.task.tower.eval()
    rows: dict[str, list[torch.Tensor]] = {}
    for batch in session.data.reference_dataloader():
        for patches, category in zip(_tokens(session, batch), batch.categories, strict=True):
            rows.setdefault(category, []).append(patches.flatten(1).T)
    choose = np.random.default_rng(0)
    banks = {}
    for category, patches in rows.items():
        stacked = torch.cat(patches)
        chosen = choose.choice(len(stacked), min(_BANK, len(stacked)), replace=False)
        banks[category] = stacked[chosen]
    collector = PredictionCollector()
    for batch in session.data.test_dataloader():
        distances = torch.stack(
            [
                torch.cdist(patches.flatten(1).T, banks[category]).amin(1).view(patches.shape[1:])
                for patches, category in zip(_tokens(session, batch), batch.categories, strict=True)
            ]
        )
        large = functional.interpolate(distances[:, None], batch.masks.shape[-2:], mode="bilinear")
        maps = np.stack([gaussian_filter(each, _SIGMA_PX) for each in large[:, 0].numpy()])
        scores = distances.flatten(1).amax(1)
        collector.update(Prediction(scores, torch.from_numpy(maps)), batch)
    return collector.result()


def _tokens(session: Session, batch: Batch) -> torch.Tensor:
    """(B, C, h, w) averaged tokens of both strides on the finer grid."""
    features = session.task.tower.encode_image(batch.images)
    maps = []
    for layer in _LAYERS:
        each = features.tokens[layer].transpose(1, 2).unflatten(2, features.grids[layer])
        each = functional.avg_pool2d(each, 3, 1, 1, count_include_pad=False)
        maps.append(functional.interpolate(each, features.grids[0], mode="bilinear"))
    return torch.cat(maps, 1)
