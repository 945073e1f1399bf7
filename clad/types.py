"""What crosses from one stage to the next; every other contract is written in these words.

Letters in shapes: B batch, C channels, H W pixels, P patches (grid height x width), L layers,
D the shared embedding, K class names, N descriptions. Sizes are always (height, width).
Label 1 means anomalous or fake, 0 normal or real; a larger score means more anomalous.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from clad.samples import Origin


@dataclass(frozen=True)
class Batch:
    """Images of one size with their truth.

    Args:
        images: (B, 3, H, W) uint8 RGB, as decoded and resized; towers normalise.
        labels: (B,) int64, 1 anomalous.
        masks: (B, H, W) bool, True where anomalous; all False where ``has_mask`` is False.
        has_mask: (B,) bool. True for every normal image (its mask is known to be empty) and for
            anomalous images with a mask file.
        categories: B names.
        defect_types: B names.
        paths: B file names, for reports.
        domains: B domains (``Sample.domain``); empty where nobody asked for them.
        features: What the frozen tower says of the images, where a feature cache brought it;
            ``images`` are then (B, 3, 0, 0), because nobody decoded them.
        origins: B frames and videos (``Sample.origin``); empty where nobody asked for them.
        groups: B groups (``Sample.group``); empty where nobody asked for them.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    has_mask: Tensor
    categories: tuple[str, ...]
    defect_types: tuple[str, ...]
    paths: tuple[str, ...]
    domains: tuple[str, ...] = ()
    features: ImageFeatures | None = None
    origins: tuple[Origin | None, ...] = ()
    groups: tuple[str | None, ...] = ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy on ``device``; Lightning calls this, too."""
        moved: dict[str, Any] = {
            name: getattr(self, name).to(device, non_blocking=non_blocking)
            for name in ("images", "labels", "masks", "has_mask")
        }
        if self.features is not None:
            moved["features"] = self.features.map(lambda t: t.to(device, non_blocking=non_blocking))
        return replace(self, **moved)

    def pin_memory(self) -> Batch:
        """Copy in page-locked memory; the loader calls this when a GPU is in use."""
        moved: dict[str, Any] = {
            name: getattr(self, name).pin_memory()
            for name in ("images", "labels", "masks", "has_mask")
        }
        if self.features is not None:
            moved["features"] = self.features.map(Tensor.pin_memory)
        return replace(self, **moved)

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class ImageFeatures:
    """What a tower says of a batch of images, layer by layer.

    Tokens live in the tower's own (trunk) space; ``patches`` and ``pooled`` live in the space that
    text shares. A tower whose image and text weights were never trained together leaves the latter
    None, and an adapter fills them.

    Args:
        tokens: L tensors (B, P_l, C_l) float, patch tokens of each chosen layer, not normalised.
        grids: L pairs (height, width) with height x width = P_l.
        summary: (B, C) float, the trunk's own image vector (CLS token or global average).
        patches: L tensors (B, P_l, D) float, unit norm along D, or None.
        pooled: (B, D) float, unit norm, or None.
        patch_grids: Grids of ``patches`` where an adapter gave them others than the tokens'; None
            where they are the same.
        windows: One tensor (B, N, D) float, unit norm, per window scale: embeddings of square
            crops of patches (WinCLIP), row by row at stride 1 on the first grid; None if the tower
            was not asked for them.
        window_sides: Side in patches of each scale.
        embedding: (B, D) float, ``pooled`` as the tower gives it, before unit length; None where
            the tower has none.
        context: (B, D) float, that embedding without learnable tokens in the image encoder: what
            per-image prompts are made from (AdaCLIP); None where it is ``embedding`` itself.
    """

    tokens: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    summary: Tensor
    patches: tuple[Tensor, ...] | None = None
    pooled: Tensor | None = None
    patch_grids: tuple[tuple[int, int], ...] | None = None
    windows: tuple[Tensor, ...] | None = None
    window_sides: tuple[int, ...] = ()
    embedding: Tensor | None = None
    context: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> ImageFeatures:
        """Copy with every tensor changed; grids stay."""
        changed: dict[str, Any] = {}
        for name in ("tokens", "summary", "patches", "pooled", "windows", "embedding", "context"):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changed[name] = change(value)
            elif value is not None:
                changed[name] = tuple(change(each) for each in value)
        return replace(self, **changed)

    @property
    def is_aligned(self) -> bool:
        """Whether the features can be compared with text."""
        return self.patches is not None and self.pooled is not None


@dataclass(frozen=True)
class DescriptionBank:
    """Sentences about normal and anomalous objects with their embeddings.

    Args:
        texts: N sentences.
        embeddings: (N, D) float, unit norm.
        class_names: N class names, one per sentence.
        labels: N ints, 1 if the sentence describes an anomaly.
        defect_types: N names of the defect described; ``good`` for label 0.
    """

    texts: tuple[str, ...]
    embeddings: Tensor
    class_names: tuple[str, ...]
    labels: tuple[int, ...]
    defect_types: tuple[str, ...]


@dataclass(frozen=True)
class TextPrototypes:
    """The text side: one normal and one anomalous prototype per class or per image.

    Args:
        class_names: K names; with ``per_image`` the batch's B names.
        embeddings: (K, 2, D) float, unit norm; index 0 normal, 1 anomalous.
        bank: Descriptions behind the prototypes, where the strategy has them.
        per_image: Whether row i belongs to image i instead of to a class name.
    """

    class_names: tuple[str, ...]
    embeddings: Tensor
    bank: DescriptionBank | None = None
    per_image: bool = False

    def for_images(self, categories: tuple[str, ...]) -> Tensor:
        """(B, 2, D) prototypes, row i for an image of ``categories[i]``.

        Raises:
            ValueError: If a category has no prototype.
        """
        if self.per_image:
            return self.embeddings
        index = {name: position for position, name in enumerate(self.class_names)}
        unknown = sorted(set(categories) - set(index))
        if unknown:
            raise ValueError(
                f"expected categories among {sorted(index)}, got {unknown}; "
                "pass every category of the batch to the prompt strategy"
            )
        rows = torch.tensor([index[name] for name in categories], device=self.embeddings.device)
        return self.embeddings[rows]


@dataclass(frozen=True)
class Alignment:
    """Image features compared with text prototypes.

    Args:
        image_logits: (B, 2) float, scaled cosines with (normal, anomalous).
        patch_logits: L tensors (B, P_l, 2) float, likewise per patch.
        grids: L pairs (height, width).
        logit_scale: What the cosines were multiplied with, > 0.
        window_logits: One tensor (B, N, 2) float per window scale; empty without windows.
    """

    image_logits: Tensor
    patch_logits: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    logit_scale: float | Tensor = 1.0
    window_logits: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class LossInputs:
    """Everything a loss may look at for one training batch."""

    batch: Batch
    features: ImageFeatures
    prototypes: TextPrototypes | None
    alignment: Alignment | None


@dataclass(frozen=True)
class Prediction:
    """What a head says of a batch.

    Args:
        scores: (B,) float, raw and unbounded unless the head says otherwise; larger = anomalous.
        maps: (B, H, W) float in the same sense, or None for image-only heads.
        parts: Named (B,) scores that were fused into ``scores``, for reports and ablations.
    """

    scores: Tensor
    maps: Tensor | None = None
    parts: dict[str, Tensor] = field(default_factory=dict)

    def detach(self) -> Self:
        """Copy without a graph."""
        return replace(
            self,
            scores=self.scores.detach(),
            maps=None if self.maps is None else self.maps.detach(),
            parts={name: part.detach() for name, part in self.parts.items()},
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Copy on ``device``; Lightning calls this on what ``predict`` returns."""
        return replace(
            self,
            scores=self.scores.to(device, non_blocking=non_blocking),
            maps=None if self.maps is None else self.maps.to(device, non_blocking=non_blocking),
            parts={name: p.to(device, non_blocking=non_blocking) for name, p in self.parts.items()},
        )


@dataclass(frozen=True)
class Region:
    """A connected anomalous area.

    Args:
        box: (top, left, bottom, right) in pixels, the last two exclusive.
        area_px: Number of pixels.
        score: Largest map value inside.
    """

    box: tuple[int, int, int, int]
    area_px: int
    score: float
