from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.losses.disentangle import Disentangle, disentangle
from clad.types import LossInputs, TextPrototypes


def test_by_hand():
    """Cosines 0.6 and 0: mean 0.3, squared 0.09."""
    pairs = torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.0, 1.0]]])
    assert disentangle(pairs).item() == pytest.approx(0.09)


def test_right_angles_are_zero_and_equal_words_are_one():
    assert disentangle(torch.eye(2)[None]).item() == 0
    assert disentangle(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])).item() == 1


def test_mean_before_square():
    """Opposite cosines of two categories cancel, as in the published code."""
    pairs = torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [-0.6, 0.8]]])
    assert disentangle(pairs).item() == pytest.approx(0, abs=1e-12)


def test_gradient():
    rows = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)

    def loss(rows):
        return disentangle(functional.normalize(rows, dim=-1))

    assert torch.autograd.gradcheck(loss, (rows,))


def test_each_category_counts_as_often_as_it_has_images():
    rows = torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.0, 1.0]]])
    prototypes = TextPrototypes(("bottle", "pcb1"), rows)
    batch = fake_batch(categories=("bottle", "bottle", "bottle", "pcb1"))
    features = FakeTower().encode_image(batch.images)
    inputs = LossInputs(batch, features, prototypes, None)
    assert Disentangle()(inputs).item() == pytest.approx((3 * 0.6 / 4) ** 2)
    with pytest.raises(ValueError, match="expected text prototypes for Disentangle, got none"):
        Disentangle()(replace(inputs, prototypes=None))


def test_refusals():
    with pytest.raises(ValueError, match="expected prototypes of shape"):
        disentangle(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="expected prototypes of unit norm"):
        disentangle(torch.ones(2, 2, 4))
