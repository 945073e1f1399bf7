from __future__ import annotations

import math

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.losses.sigmoid import SigmoidLoss, pairwise_sigmoid
from clad.prompts.single_pair import SinglePair
from clad.types import LossInputs

EYE = torch.eye(3).bool()


def test_by_hand() -> None:
    """Orthogonal pairs, scale 10, bias -10: matches ask sigmoid(0), the rest sigmoid(10)."""
    image = torch.eye(3, dtype=torch.float64)
    value = pairwise_sigmoid(image, image, EYE, ~EYE, 10.0, -10.0).item()
    assert value == pytest.approx(math.log(2) + 2 * math.log(1 + math.exp(-10)))


def test_matches_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.randn(3, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    negative = ~EYE
    negative[0, 2] = False
    total = 0.0
    for i in range(3):
        for j in range(3):
            z = 1 if i == j else -1 if negative[i, j] else 0
            logit = 2.0 * float(image[i] @ text[j]) - 1.0
            total += -math.log(1 / (1 + math.exp(-z * logit))) if z else 0
    fast = pairwise_sigmoid(image, text, EYE, negative, 2.0, -1.0).item()
    assert fast == pytest.approx(total / 3)


def test_gradient() -> None:
    image = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    text = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b, s: pairwise_sigmoid(a, b, EYE, ~EYE, s, -1.0), (image, text, scale)
    )


def test_scale_and_bias_start_as_in_the_paper_and_learn() -> None:
    loss, tower, batch = SigmoidLoss(), FakeTower(), fake_batch()
    assert loss.log_scale.exp().item() == pytest.approx(10)
    assert loss.bias.item() == -10
    prototypes = SinglePair()(("bottle", "pcb1"), tower)
    loss(LossInputs(batch, tower.encode_image(batch.images), prototypes, None)).backward()
    assert loss.log_scale.grad is not None
    assert loss.bias.grad.item() != 0
    assert loss.name == "sigmoid"


def test_scale_is_checked() -> None:
    with pytest.raises(ValueError, match="expected initial_scale > 0, got -1"):
        SigmoidLoss(initial_scale=-1)
