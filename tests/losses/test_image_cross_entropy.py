from __future__ import annotations

import math

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.losses.image_cross_entropy import ImageCrossEntropy, image_cross_entropy
from clad.types import LossInputs


def test_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    # log 2 for the undecided one; probability 1/4 for the second's true label.
    value = image_cross_entropy(logits, torch.tensor([0, 1])).item()
    assert value == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_matches_plain_loops() -> None:
    logits = torch.randn(6, 2, dtype=torch.float64)
    labels = [0, 1, 1, 0, 1, 0]
    costs = []
    for (normal, anomalous), label in zip(logits.tolist(), labels, strict=True):
        chosen = anomalous if label else normal
        costs.append(math.log(math.exp(normal) + math.exp(anomalous)) - chosen)
    found = image_cross_entropy(logits, torch.tensor(labels)).item()
    assert found == pytest.approx(sum(costs) / 6)


def test_gradient() -> None:
    logits = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 1, 0])
    assert torch.autograd.gradcheck(lambda x: image_cross_entropy(x, labels), (logits,))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"expected image_logits of shape \(2, 2\), got \(3, 2\)"):
        image_cross_entropy(torch.zeros(3, 2), torch.tensor([0, 1]))
    batch = fake_batch()
    inputs = LossInputs(batch, FakeTower().encode_image(batch.images), None, None)
    with pytest.raises(ValueError, match="expected text logits for ImageCrossEntropy, got none"):
        ImageCrossEntropy()(inputs)
