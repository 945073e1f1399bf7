"""Keeps predictions with their truth until metrics are taken; of maps and masks a state only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clad.checks import expect_shape
from clad.metrics.keepsakes import Keepsakes
from clad.metrics.pixel_state import PixelState
from clad.metrics.settings import STANDARD, MetricSettings
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
        pixels: Category name -> what metrics need of the maps and masks of its images; only images
            whose mask is known count. Empty for image-only heads.
        keepsakes: What a report needs of maps and masks; None where nobody asked, or without maps.
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
    pixels: Mapping[str, PixelState] = field(default_factory=dict)
    keepsakes: Keepsakes | None = None
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

    Of an image it keeps names, label and scores. Maps and masks go into one ``PixelState`` per
    category, so memory does not grow with them.

    Args:
        for_report: Whether to keep what a report shows of maps and masks, too.
        metrics: Which pixel metrics will be taken.
    """

    def __init__(self, for_report: bool = False, metrics: MetricSettings = STANDARD) -> None:
        self._metrics = metrics
        self._names: list[tuple[str, str, str]] = []
        self._domains: list[str] = []
        self._origins: list[Origin | None] = []
        self._groups: list[str | None] = []
        # Plain numbers: small arrays that stay, among the large ones of each batch that go, would
        # leave holes in memory, and those grow with the images.
        self._labels: list[int] = []
        self._has_mask: list[bool] = []
        self._scores: list[float] = []
        self._parts: dict[str, list[float]] = {}
        self._has_maps = False
        self._pixels: dict[str, PixelState] = {}
        self._keepsakes = Keepsakes() if for_report else None

    def __len__(self) -> int:
        return len(self._names)

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Take in a batch's predictions and truth; nothing of the batch itself is kept.

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
        self._expect_same_kind(prediction.maps is not None, prediction.parts)
        _expect_finite("score", prediction.scores, batch.paths)
        if prediction.maps is not None:
            _expect_finite("anomaly map", prediction.maps, batch.paths)
            self._take_maps(prediction, prediction.maps, batch)
        self._names += zip(batch.paths, batch.categories, batch.defect_types, strict=True)
        self._domains += batch.domains
        self._origins += batch.origins
        self._groups += batch.groups
        self._labels += batch.labels.tolist()
        self._has_mask += batch.has_mask.tolist()
        self._scores += _as_floats(prediction.scores)
        for name, part in prediction.parts.items():
            self._parts.setdefault(name, []).extend(_as_floats(part))

    def merge(self, other: PredictionCollector) -> None:
        """Take in what another one has, behind what this one has; the other is used up.

        Raises:
            ValueError: If only one of them has maps, or they have different parts.
        """
        if not len(other):
            return
        self._expect_same_kind(other._has_maps, other._parts)
        self._names += other._names
        self._domains += other._domains
        self._origins += other._origins
        self._groups += other._groups
        self._labels += other._labels
        self._has_mask += other._has_mask
        self._scores += other._scores
        for name, values in other._parts.items():
            self._parts.setdefault(name, []).extend(values)
        self._has_maps = other._has_maps
        for category, state in other._pixels.items():
            if category in self._pixels:
                self._pixels[category].merge(state)
            else:
                self._pixels[category] = state
        if self._keepsakes is not None and other._keepsakes is not None:
            self._keepsakes.merge(other._keepsakes)

    def result(self) -> CollectedPredictions:
        """Everything taken in so far; not a copy: take in no more afterwards.

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
            labels=np.array(self._labels, dtype=np.int64),
            scores=np.array(self._scores, dtype=np.float64),
            has_mask=np.array(self._has_mask, dtype=bool),
            parts={name: np.array(values) for name, values in self._parts.items()},
            pixels=self._pixels,
            keepsakes=self._keepsakes if self._has_maps else None,
            domains=tuple(self._domains) if len(self._domains) == len(paths) else (),
            origins=tuple(self._origins) if len(self._origins) == len(paths) else (),
            groups=tuple(self._groups) if len(self._groups) == len(paths) else (),
        )

    def _new_state(self) -> PixelState:
        chosen = self._metrics
        return PixelState(chosen.num_bins, chosen.published_pro, chosen.aupimo)

    def _take_maps(self, prediction: Prediction, maps: Tensor, batch: Batch) -> None:
        self._has_maps = True
        values = maps.detach().to("cpu", torch.float32).numpy()
        masks, has_mask = batch.masks.cpu().numpy(), batch.has_mask.cpu().numpy()
        categories = np.asarray(batch.categories)
        for category in dict.fromkeys(batch.categories):
            state = self._pixels.setdefault(category, self._new_state())
            members = np.flatnonzero((categories == category) & has_mask)
            if len(members) == len(batch):
                state.update(values, masks)
            elif len(members):
                state.update(values[members], masks[members])
        if self._keepsakes is not None:
            scores = prediction.scores.detach().to("cpu", torch.float64).numpy()
            labels = batch.labels.cpu().numpy()
            self._keepsakes.update(scores, labels, batch.categories, values, masks, has_mask)

    def _expect_same_kind(self, has_maps: bool, parts: Mapping[str, object]) -> None:
        if not self._names:
            return
        if has_maps != self._has_maps:
            raise ValueError(
                "expected anomaly maps in every batch or in none, got a mixture; "
                "a head must decide once"
            )
        if set(parts) != set(self._parts):
            raise ValueError(
                f"expected the score parts {sorted(self._parts)} in every batch, "
                f"got {sorted(parts)}; a head must decide once"
            )


def _as_floats(tensor: Tensor) -> list[float]:
    found: list[float] = tensor.detach().to("cpu", torch.float64).tolist()
    return found


def _expect_finite(what: str, values: Tensor, paths: tuple[str, ...]) -> None:
    is_finite = torch.isfinite(values.detach()).reshape(len(paths), -1).all(dim=1)
    if not bool(is_finite.all()):
        first = int((~is_finite).nonzero()[0, 0])
        raise ValueError(
            f"expected a finite {what}, got NaN or infinity for {paths[first]}; "
            "look for a division by zero or an overflow in the head"
        )
