"""Image features x text prototypes -> logits: the one place where the two sides meet."""

from __future__ import annotations

import torch
from torch import Tensor

from clad.checks import expect_shape, expect_unit_norm
from clad.types import Alignment, ImageFeatures, TextPrototypes


def cosine_logits(vectors: Tensor, prototypes: Tensor, logit_scale: float | Tensor) -> Tensor:
    """Scaled cosines of image vectors with the (normal, anomalous) prototypes of their image.

    Args:
        vectors: (B, ..., D) float, unit norm.
        prototypes: (B, 2, D) float, unit norm; index 0 normal, 1 anomalous.
        logit_scale: Multiplier of the cosine, > 0.

    Returns:
        (B, ..., 2) float.

    Raises:
        ValueError: If shapes do not fit or vectors are not of unit norm.

    Source: CLIP (Radford et al., ICML 2021, arXiv:2103.00020), section 2.3.
    """
    expect_shape("prototypes", prototypes, (vectors.shape[0], 2, vectors.shape[-1]))
    expect_unit_norm("image vectors", vectors)
    expect_unit_norm("prototypes", prototypes)
    flat_BND = vectors.reshape(vectors.shape[0], -1, vectors.shape[-1])
    logits = torch.einsum("bnd,bkd->bnk", flat_BND, prototypes.to(flat_BND.dtype)) * logit_scale
    return logits.reshape(*vectors.shape[:-1], 2)


def align(
    features: ImageFeatures,
    prototypes: TextPrototypes,
    categories: tuple[str, ...],
    logit_scale: float | Tensor,
) -> Alignment:
    """Compare a batch with the prototypes of its categories.

    Raises:
        ValueError: If the features do not live in text space.
    """
    if features.patches is None or features.pooled is None:
        raise ValueError(
            "expected features aligned with text, got trunk features only; train an adapter that "
            "aligns them (configs/adapter/), or use a head that needs no text"
        )
    rows_B2D = prototypes.for_images(categories)
    return Alignment(
        image_logits=cosine_logits(features.pooled, rows_B2D, logit_scale),
        patch_logits=tuple(cosine_logits(p, rows_B2D, logit_scale) for p in features.patches),
        grids=features.patch_grids or features.grids,
        logit_scale=logit_scale,
        window_logits=tuple(
            cosine_logits(w, rows_B2D, logit_scale) for w in features.windows or ()
        ),
    )


def gaussian_similarity(image: Tensor, text: Tensor, sigma: float) -> Tensor:
    """CLAD's similarity of image and text, ``exp(-|image - text|^2 / sigma)``.

    Args:
        image: (..., D) float.
        text: (..., D) float; both sides broadcast.
        sigma: Width in units of a squared distance, > 0.

    Returns:
        (...) float in [0, 1], 1 where the two coincide. For unit vectors it rises with the cosine.

    Raises:
        ValueError: If ``sigma`` is not positive, or the widths D differ.

    Source: CLAD (arXiv:2412.00890), similarity score; whether the paper divides by sigma or by
    2 sigma^2 could not be recovered, so sigma is the whole divisor.
    """
    expect_sigma(sigma)
    expect_shape("text", text, (*(None,) * (text.ndim - 1), image.shape[-1]))
    return torch.exp(-(image - text).square().sum(-1) / sigma)


def gaussian_anomaly(cosine: Tensor, sigma: float) -> Tensor:
    """``1 - gaussian_similarity`` of unit vectors with that cosine, whose distance is 2 - 2 cosine.

    Args:
        cosine: (...) float in [-1, 1] between an image and the normal prototype.
        sigma: As in ``gaussian_similarity``.

    Returns:
        (...) float in [0, 1), larger = more anomalous; exact also where the similarity is near 1.

    Raises:
        ValueError: If ``sigma`` is not positive.
    """
    expect_sigma(sigma)
    return -torch.expm1((2 * cosine - 2) / sigma)


def expect_sigma(sigma: float) -> None:
    """Refuse a width that is not positive.

    Raises:
        ValueError: With the given width.
    """
    if not sigma > 0:
        raise ValueError(
            f"expected sigma > 0, got {sigma}; squared distances of unit vectors are 0 to 4"
        )


def anomaly_probability(logits: Tensor) -> Tensor:
    """Softmax probability of the anomalous prototype.

    Args:
        logits: (..., 2) float.

    Returns:
        (...) float in [0, 1].
    """
    return torch.softmax(logits.float(), dim=-1)[..., 1]
