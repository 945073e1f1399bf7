"""Image features x defect descriptions -> ranked words: auditable, nothing is generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_shape, expect_unit_norm
from clad.explain.regions import hottest_area
from clad.types import DescriptionBank, ImageFeatures, Prediction


@dataclass(frozen=True)
class RankedDescription:
    """How well one description of a defect fits one image.

    Args:
        text: The sentence.
        defect_type: What it describes.
        similarity: Cosine of the sentence and what was looked at, in [-1, 1].
        margin: The same less that of the best normal description; above 0 it fits better.
        level: What was looked at: the whole ``image``, or its hottest ``region``.
    """

    text: str
    defect_type: str
    similarity: float
    margin: float
    level: Literal["image", "region"] = "image"


Ranking = tuple[RankedDescription, ...]


@dataclass(frozen=True)
class DescribedPrediction(Prediction):
    """What a head says of a batch, and what the descriptions of defects say of it.

    Args:
        words: Per image, the best description of each defect type, most similar to the whole image
            first; none at all where the recipe has no descriptions or no shared space.
        region_words: The same of the hottest area of each map; none without maps, either.
    """

    words: tuple[Ranking, ...] = ()
    region_words: tuple[Ranking, ...] = ()


def rank_descriptions(
    vectors: Tensor,
    bank: DescriptionBank,
    categories: Sequence[str],
    level: Literal["image", "region"] = "image",
) -> tuple[Ranking, ...]:
    """Per image, every defect description of its category, the most similar first.

    Args:
        vectors: (B, D) float, unit norm, in the space of the bank.
        bank: Descriptions of all categories.
        categories: B names.
        level: What the vectors stand for; only passed on.

    Raises:
        ValueError: If shapes do not fit, vectors are not of unit norm, or the bank lacks normal or
            defect descriptions of a category.
    """
    expect_shape("vectors", vectors, (len(categories), bank.embeddings.shape[1]))
    expect_unit_norm("vectors", vectors)
    similarities = (vectors.detach().float() @ bank.embeddings.detach().float().T).cpu()
    owners, labels = np.asarray(bank.class_names), np.asarray(bank.labels)
    rankings = []
    for category, row in zip(categories, similarities, strict=True):
        normal = np.flatnonzero((owners == category) & (labels == 0))
        defects = np.flatnonzero((owners == category) & (labels == 1))
        if not (len(normal) and len(defects)):
            raise ValueError(
                f"expected normal and defect descriptions of {category}, got {len(normal)} and "
                f"{len(defects)}; the bank describes {', '.join(sorted(set(bank.class_names)))}"
            )
        best_normal = float(row[normal].max())
        found = [
            RankedDescription(
                text=bank.texts[n],
                defect_type=bank.defect_types[n],
                similarity=float(row[n]),
                margin=float(row[n]) - best_normal,
                level=level,
            )
            for n in defects.tolist()
        ]
        rankings.append(tuple(sorted(found, key=lambda each: -each.similarity)))
    return tuple(rankings)


def best_per_type(ranking: Ranking) -> Ranking:
    """The first description of each defect type, in the order of the ranking."""
    first: dict[str, RankedDescription] = {}
    for each in ranking:
        first.setdefault(each.defect_type, each)
    return tuple(first.values())


def image_vectors(features: ImageFeatures) -> Tensor:
    """(B, D) unit vectors of whole images.

    Raises:
        ValueError: If the features do not live in the space of words.
    """
    if features.pooled is None or features.patches is None:
        raise _unaligned()
    return features.pooled


def region_vectors(features: ImageFeatures, areas: Tensor) -> Tensor:
    """(B, D) unit vectors of one area of each image.

    The mean of its patches, each weighted with the share of it that the area covers, then the mean
    over layers.

    Args:
        features: Of B images.
        areas: (B, H, W) bool, not empty.

    Raises:
        ValueError: If the features do not live in the space of words, or an area is empty.
    """
    if features.pooled is None or features.patches is None:
        raise _unaligned()
    expect_shape("areas", areas, (len(features.pooled), None, None))
    if not bool(areas.flatten(1).any(1).all()):
        raise ValueError("expected areas of at least one pixel, got an empty one")
    grids = features.patch_grids or features.grids
    layers = []
    for patches, grid in zip(features.patches, grids, strict=True):
        covered = functional.adaptive_avg_pool2d(areas[:, None].to(patches.device).float(), grid)
        weights = covered.flatten(1)
        weights = weights / weights.sum(1, keepdim=True)
        layers.append(torch.einsum("bp,bpd->bd", weights, patches.float()))
    return functional.normalize(torch.stack(layers).mean(0), dim=-1)


def describe_images(
    features: ImageFeatures, bank: DescriptionBank, categories: Sequence[str]
) -> tuple[Ranking, ...]:
    """Per image, the best description of each defect type, most similar to the whole image first.

    Args:
        features: Of B images, aligned with words.
        bank: Descriptions of all categories.
        categories: B names.

    Raises:
        ValueError: As in ``rank_descriptions`` and ``image_vectors``.
    """
    ranked = rank_descriptions(image_vectors(features), bank, categories)
    return tuple(best_per_type(each) for each in ranked)


def describe_regions(
    features: ImageFeatures, maps: Tensor, bank: DescriptionBank, categories: Sequence[str]
) -> tuple[Ranking, ...]:
    """As ``describe_images``, of the patches inside the hottest area of each map.

    Args:
        features: Of B images, aligned with words.
        maps: (B, H, W) float.
        bank: Descriptions of all categories.
        categories: B names.

    Raises:
        ValueError: As in ``rank_descriptions`` and ``region_vectors``.
    """
    hottest = [hottest_area(each) for each in maps.detach().float().cpu().numpy()]
    vectors = region_vectors(features, torch.from_numpy(np.stack(hottest)))
    ranked = rank_descriptions(vectors, bank, categories, level="region")
    return tuple(best_per_type(each) for each in ranked)


def _unaligned() -> ValueError:
    return ValueError(
        "expected features aligned with words, got trunk features only, whose similarity with a "
        "description means nothing; train an adapter that aligns them (configs/adapter/)"
    )
