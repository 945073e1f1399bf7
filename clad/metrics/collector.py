"""Keeps predictions with their truth until metrics are taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clad.checks import expect_shape
from clad.samples import Origin
from clad.types import Batch, Prediction


@dataclass(frozen=True)
class CollectedPredictions:
    """Predictions of N images with their truth, in the order they came.

    Args:
        paths: N file names.
        categories: N names.
        defect_types: N names; ``good`` for normal images.
        labels: (N,) int64, 1 anomalous.
        scores: (N,) float64, raw; larger = more anomalous.
        has_mask: (N,) bool, whether the mask of the image is known (normal images: empty).
        parts: Named (N,) float64 scores that were fused into ``scores``.
        maps: (N, H, W) float32, raw, or None for image-only heads.
        masks: (N, H, W) bool, or None where ``maps`` is None.
        domains: N domains (``Sample.domain``); empty where the batches named none.
        origins: N frames and videos (``Sample.origin``); empty where the batches named none.
        groups: N groups (``Sample.group``); empty where the batches named none.
    """

    paths: tuple[str, ...]
    categories: tuple[str, ...]
    defect_types: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    has_mask: NDArray[np.bool_]
    parts: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    maps: NDArray[np.float32] | None = None
    masks: NDArray[np.bool_] | None = None
    domains: tuple[str, ...] = ()
    origins: tuple[Origin | None, ...] = ()
    groups: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Each category once, in the order of first appearance."""
        return tuple(dict.fromkeys(self.categories))

    def rows_of(self, category: str) -> NDArray[np.int64]:
        """Positions of the images of a category."""
        return np.flatnonzero(np.asarray(self.categories) == category)

    def domain_of(self) -> dict[str, str]:
        """Category name -> its domain; empty where none is known.

        Raises:
            ValueError: If a category has images of two domains.
        """
        if not self.domains:
            return {}
        found: dict[str, str] = {}
        for category, domain in zip(self.categories, self.domains, strict=True):
            if found.setdefault(category, domain) != domain:
                raise ValueError(
                    f"expected one domain per category, got {found[category]} and {domain} for "
                    f"{category}; give the categories other names"
                )
        return found


class PredictionCollector:
    """Takes in batches, gives back everything at once.

    Memory grows with the number of images: 5 bytes per pixel of map and mask.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._names: list[tuple[str, str, str]] = []
        self._domains: list[str] = []
        self._origins: list[Origin | None] = []
        self._groups: list[str | None] = []
        self._labels: list[NDArray[np.int64]] = []
        self._has_mask: list[NDArray[np.bool_]] = []
        self._scores: list[NDArray[np.float64]] = []
        self._parts: dict[str, list[NDArray[np.float64]]] = {}
        self._maps: list[NDArray[np.float32]] = []
        self._masks: list[NDArray[np.bool_]] = []

    def __len__(self) -> int:
        return len(self._names)

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Copy a batch's predictions and truth to main memory (images are not kept).

        Raises:
            ValueError: If a shape does not fit the batch, a score or map is not finite (with the
                path), or maps or parts come in some batches only.
        """
        size = len(batch)
        expect_shape("prediction.scores", prediction.scores, (size,))
        for name, part in prediction.parts.items():
            expect_shape(f"prediction.parts[{name!r}]", part, (size,))
        if prediction.maps is not None:
            expect_shape("prediction.maps", prediction.maps, (size, *batch.masks.shape[-2:]))
        self._expect_same_kind(prediction)
        _expect_finite("score", prediction.scores, batch.paths)

        if prediction.maps is not None:
            _expect_finite("anomaly map", prediction.maps, batch.paths)
            self._maps.append(_to_numpy(prediction.maps, torch.float32))
            self._masks.append(_to_numpy(batch.masks, torch.bool))
        self._names += zip(batch.paths, batch.categories, batch.defect_types, strict=True)
        self._domains += batch.domains
        self._origins += batch.origins
        self._groups += batch.groups
        self._labels.append(_to_numpy(batch.labels, torch.int64))
        self._has_mask.append(_to_numpy(batch.has_mask, torch.bool))
        self._scores.append(_to_numpy(prediction.scores, torch.float64))
        for name, part in prediction.parts.items():
            self._parts.setdefault(name, []).append(_to_numpy(part, torch.float64))

    def result(self) -> CollectedPredictions:
        """Everything taken in so far.

        Raises:
            ValueError: If nothing was.
        """
        if not self._names:
            raise ValueError(
                "expected predictions of at least one image, got none; is the set empty?"
            )
        paths, categories, defect_types = zip(*self._names, strict=True)
        return CollectedPredictions(
            paths=paths,
            categories=categories,
            defect_types=defect_types,
            labels=np.concatenate(self._labels),
            scores=np.concatenate(self._scores),
            has_mask=np.concatenate(self._has_mask),
            parts={name: np.concatenate(values) for name, values in self._parts.items()},
            maps=np.concatenate(self._maps) if self._maps else None,
            masks=np.concatenate(self._masks) if self._masks else None,
            domains=tuple(self._domains) if len(self._domains) == len(paths) else (),
            origins=tuple(self._origins) if len(self._origins) == len(paths) else (),
            groups=tuple(self._groups) if len(self._groups) == len(paths) else (),
        )

    def _expect_same_kind(self, prediction: Prediction) -> None:
        if not self._names:
            return
        if (prediction.maps is not None) != bool(self._maps):
            raise ValueError(
                "expected anomaly maps in every batch or in none, got a mixture; "
                "a head must decide once"
            )
        if set(prediction.parts) != set(self._parts):
            raise ValueError(
                f"expected the score parts {sorted(self._parts)} in every batch, "
                f"got {sorted(prediction.parts)}; a head must decide once"
            )


def _to_numpy(tensor: Tensor, dtype: torch.dtype) -> NDArray:
    # copy=True: a loader may reuse the memory of a batch.
    return tensor.detach().to("cpu", dtype, copy=True).numpy()


def _expect_finite(what: str, values: Tensor, paths: tuple[str, ...]) -> None:
    is_finite = torch.isfinite(values.detach()).reshape(len(paths), -1).all(dim=1)
    if not bool(is_finite.all()):
        first = int((~is_finite).nonzero()[0, 0])
        raise ValueError(
            f"expected a finite {what}, got NaN or infinity for {paths[first]}; "
            "look for a division by zero or an overflow in the head"
        )
