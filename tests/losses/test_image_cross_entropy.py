from __future__ import annotations

import math

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.alignment import align
from clad.losses.image_cross_entropy import ImageCrossEntropy, image_cross_entropy
from clad.types import LossInputs, TextPrototypes


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


def test_a_scale_of_its_own_replaces_that_of_the_recipe() -> None:
    batch = fake_batch()
    tower = FakeTower()
    features = tower.encode_image(batch.images)
    words = torch.nn.functional.normalize(torch.randn(2, 2, tower.embed_dim), dim=-1)
    prototypes = TextPrototypes(("bottle", "pcb1"), words)
    inputs = LossInputs(
        batch, features, prototypes, align(features, prototypes, batch.categories, 50.0)
    )
    cosines = torch.einsum("bd,bkd->bk", features.pooled, words[[0, 0, 1, 1]])
    for scale, given in ((50.0, None), (1.0, 1.0), (3.0, 3.0)):
        expected = torch.nn.functional.cross_entropy(scale * cosines, batch.labels)
        torch.testing.assert_close(ImageCrossEntropy(logit_scale=given)(inputs), expected)
    with pytest.raises(ValueError, match="expected logit_scale in"):
        ImageCrossEntropy(logit_scale=0)


def test_smoothed_labels_spread_their_share_over_both_classes() -> None:
    logits = torch.tensor([[0.0, math.log(3)]])
    # Probabilities 1/4 and 3/4; 0.9 of the truth lies with the second class, 0.1 with the first.
    value = image_cross_entropy(logits, torch.tensor([1]), label_smoothing=0.2).item()
    assert value == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


def test_smoothing_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="expected label_smoothing in"):
        ImageCrossEntropy(label_smoothing=1.0)
