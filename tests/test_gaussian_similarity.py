"""CLAD's similarity: values by hand, its order, and the score that a head makes of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from clad.alignment import gaussian_anomaly, gaussian_similarity
from clad.heads.image_text import ImageText
from clad.types import Alignment, ImageFeatures

NOTHING = ImageFeatures((), (), torch.zeros(1, 1))


def test_by_hand() -> None:
    image = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = gaussian_similarity(image, text, 2.0).tolist()
    assert found == pytest.approx([1.0, math.exp(-1), math.exp(-12.5)])


def test_sides_broadcast() -> None:
    image, text = torch.randn(3, 1, 4), torch.randn(5, 4)
    found = gaussian_similarity(image, text, 0.7)
    expected = torch.exp(-torch.cdist(image[:, 0], text).square() / 0.7)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0])
def test_it_rises_with_the_cosine_and_the_score_falls(sigma) -> None:
    angles = torch.linspace(0, math.pi, 50, dtype=torch.float64)
    image = torch.stack([angles.cos(), angles.sin()], -1)
    text = torch.tensor([1.0, 0.0], dtype=torch.float64)
    similarity = gaussian_similarity(image, text, sigma)
    score = gaussian_anomaly(image @ text, sigma)
    assert (similarity.diff() < 0).all()
    assert (score.diff() > 0).all() or sigma == 0.05  # there it ends at 1 to the last digit
    assert (score.diff() >= 0).all()
    assert score.min() >= 0
    assert score.max() <= 1
    torch.testing.assert_close(score, 1 - similarity)


def test_the_score_is_exact_where_image_and_text_nearly_coincide() -> None:
    cosine = torch.tensor([1 - 2.0**-20])
    assert gaussian_anomaly(cosine, 1.0).item() == pytest.approx(2.0**-19, rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 100.0, torch.tensor(20.0)])
def test_head_scores_the_distance_from_normal_words_alone(scale) -> None:
    rows = functional.normalize(torch.randn(4, 6), dim=-1)
    normal, anomalous = functional.normalize(torch.randn(2, 6), dim=-1)
    logits = torch.stack([rows @ normal, rows @ anomalous], -1) * scale
    found = ImageText("gaussian", sigma=0.8)(
        NOTHING, Alignment(logits, (), (), scale), ("nut",) * 4, (8, 8)
    )
    assert found.maps is None
    expected = 1 - gaussian_similarity(rows, normal, 0.8)
    torch.testing.assert_close(found.scores, expected, atol=1e-5, rtol=1e-4)


def test_gradient() -> None:
    image = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    text = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: gaussian_similarity(a, b, 1.5), (image, text))


def test_refusals() -> None:
    for sigma in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"expected sigma > 0, got .*; squared distances of"):
            gaussian_similarity(torch.eye(2), torch.eye(2), sigma)
    with pytest.raises(ValueError, match="expected text of shape"):
        gaussian_similarity(torch.eye(2), torch.eye(3), 1.0)
    with pytest.raises(ValueError, match="expected sigma > 0"):
        ImageText("gaussian", sigma=0)
