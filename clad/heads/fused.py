"""Several heads as one: each in units of its own spread on normal validation images."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from clad.checks import expect_range
from clad.heads.base import Head, category_rows
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction

_FEWEST_IMAGES = 3
_SMALLEST_STD = 1e-6


@dataclass
class _Seen:
    """Scores and map moments of one head on the normal validation images of one category."""

    scores: list[Tensor] = field(default_factory=list)
    map_means: list[Tensor] = field(default_factory=list)
    map_variances: list[Tensor] = field(default_factory=list)


class Fused(Head):
    """Several heads' scores and maps, standardised on validation normals and combined.

    Scores of a head are centred and divided by their standard deviation over the normal validation
    images of the category, maps by theirs over all their pixels; nothing is fitted on test images,
    and anomalous validation images are left alone. Heads without a map take no part in maps.

    Args:
        heads: Heads to fuse, at least one.
        score_weights: One weight >= 0 per head; None weighs all alike.
        power: Exponent p >= 1 of the combined score: the signed p-th root of the weighted mean of
            signed p-th powers. 2 adds up evidence as Gaussian log-likelihoods do, so that one head
            six deviations off says more than three heads two off; 1 is the plain mean. Maps always
            take the plain mean.
        standardise: False combines scores and maps as they are, which is right for heads in one
            unit, such as several memories, and needs no validation images (few shots).
        map_weights: One weight >= 0 per head, 0 for heads without a map; None weighs all alike.
    """

    needs_validation = True
    score_centre: Tensor
    score_spread: Tensor
    map_centre: Tensor
    map_spread: Tensor
    num_seen: Tensor

    def __init__(
        self,
        heads: list[Head],
        score_weights: list[float] | None = None,
        map_weights: list[float] | None = None,
        power: float = 2.0,
        standardise: bool = True,
    ) -> None:
        super().__init__()
        expect_range("power", power, 1, 10)
        self.power = power
        self.needs_validation = standardise
        if not heads:
            raise ValueError("expected at least one head to fuse, got none")
        if any(head.needs_validation for head in heads):
            raise ValueError(
                "expected heads without scales of their own to fuse, got one that is fitted on "
                "validation images itself; name its parts in a single list"
            )
        for name, weights in (("score_weights", score_weights), ("map_weights", map_weights)):
            if weights is None:
                continue
            if len(weights) != len(heads) or min(weights) < 0 or sum(weights) == 0:
                raise ValueError(
                    f"expected {name} with one weight >= 0 for each of the {len(heads)} heads and "
                    f"a positive sum, got {weights}"
                )
        self.heads = nn.ModuleList(heads)
        self.score_weights = score_weights or [1.0] * len(heads)
        self.map_weights = map_weights or [1.0] * len(heads)
        self.needs_text = any(head.needs_text for head in heads)
        self.needs_reference = any(head.needs_reference for head in heads)
        self.needs_gradients = any(head.needs_gradients for head in heads)
        self._seen: dict[tuple[int, int], _Seen] = {}

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Attach every head; reserve scales per head and category."""
        self.class_names = tuple(class_names)
        self._image_size = tower.image_size  # where maps are as smooth as in ``forward``
        shape = (len(self.heads), len(class_names))
        for name in ("score_centre", "map_centre"):
            self.register_buffer(name, torch.zeros(shape))
        for name in ("score_spread", "map_spread"):
            self.register_buffer(name, torch.ones(shape))
        self.register_buffer("num_seen", torch.zeros(len(class_names), dtype=torch.long))
        for head in self._parts():
            head.attach(tower, class_names)

    def start_reference(self) -> None:
        """Pass on."""
        for head in self._parts():
            head.start_reference()

    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Pass on."""
        for head in self._parts():
            head.observe(features, categories)

    def finish_reference(self) -> None:
        """Pass on."""
        for head in self._parts():
            head.finish_reference()

    def start_validation(self) -> None:
        """Forget what was seen of validation images."""
        numbers = range(len(self.heads))
        names = range(len(self.class_names))
        self._seen = {(head, name): _Seen() for head in numbers for name in names}

    @torch.no_grad()
    def observe_validation(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        labels: tuple[int, ...],
    ) -> None:
        """Keep the scores and map moments of normal images."""
        names = category_rows(self.class_names, categories).tolist()
        for number, head in enumerate(self._parts()):
            prediction = head(features, alignment, categories, self._image_size)
            for row, (name, label) in enumerate(zip(names, labels, strict=True)):
                if label:
                    continue
                seen = self._seen[number, name]
                seen.scores.append(prediction.scores[row])
                if prediction.maps is not None:
                    seen.map_means.append(prediction.maps[row].mean())
                    seen.map_variances.append(prediction.maps[row].var(correction=0))

    def finish_validation(self) -> None:
        """Fit centre and spread of every head and category.

        Raises:
            ValueError: If a category has fewer than three normal validation images.
        """
        for (head, name), seen in self._seen.items():
            if len(seen.scores) < _FEWEST_IMAGES:
                raise ValueError(
                    f"expected at least {_FEWEST_IMAGES} normal validation images of "
                    f"{self.class_names[name]} to scale fused scores, got {len(seen.scores)}; "
                    "raise the source's validation share, or use a single head (configs/head/)"
                )
            scores = torch.stack(seen.scores)
            self.score_centre[head, name] = scores.mean()
            self.score_spread[head, name] = scores.std().clamp(min=_SMALLEST_STD)
            self.num_seen[name] = len(scores)
            if seen.map_means:
                means = torch.stack(seen.map_means)
                variance = torch.stack(seen.map_variances).mean() + means.var(correction=0)
                self.map_centre[head, name] = means.mean()
                self.map_spread[head, name] = variance.clamp(min=_SMALLEST_STD**2).sqrt()
        self._seen = {}

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores and maps in standard deviations of normal validation images; parts by head.

        Raises:
            ValueError: If the scales of a category were never fitted.
        """
        rows = category_rows(self.class_names, categories).to(self.score_centre.device)
        if self.needs_validation and (self.num_seen[rows] == 0).any():
            raise ValueError(
                "expected scales fitted on normal validation images, got none; train the recipe to "
                "its end, with validation images of every category"
            )
        evidence, maps, parts = torch.zeros(len(rows), device=rows.device), None, {}
        total_score, total_map = sum(self.score_weights), 0.0
        for number, head in enumerate(self._parts()):
            prediction = head(features, alignment, categories, image_size)
            scaled = prediction.scores - self.score_centre[number, rows]
            scaled = scaled / self.score_spread[number, rows]
            evidence = evidence + self.score_weights[number] * _signed_power(scaled, self.power)
            parts[self._name(number)] = scaled
            weight = self.map_weights[number]
            if prediction.maps is not None and weight:
                centre = self.map_centre[number, rows, None, None]
                layer = (prediction.maps - centre) / self.map_spread[number, rows, None, None]
                maps = weight * layer if maps is None else maps + weight * layer
                total_map += weight
        combined = _signed_power(evidence / total_score, 1 / self.power)
        return Prediction(combined, None if maps is None else maps / total_map, parts)

    def _parts(self) -> list[Head]:
        return [head for head in self.heads if isinstance(head, Head)]

    def _name(self, number: int) -> str:
        """Class name in snake case; numbered where two heads share it."""
        names = [type(head).__name__ for head in self.heads]
        stem = "".join(f"_{c.lower()}" if c.isupper() else c for c in names[number]).lstrip("_")
        return stem if names.count(names[number]) == 1 else f"{stem}_{number + 1}"


def _signed_power(values: Tensor, power: float) -> Tensor:
    return values.sign() * values.abs().pow(power)
