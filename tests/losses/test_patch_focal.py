from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from clad.losses.focal import focal, focal_of_margin
from clad.losses.patch_focal import PatchFocal


def test_by_hand() -> None:
    """p = 1/2 both ways: (1/2)^2 log 2. p = 3/4 for the truth: (1/4)^2 log(4/3)."""
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]])  # (1, 2, 2): normal, anomalous
    targets = torch.tensor([[1.0, 0.0]])
    expected = (0.25 * math.log(2) + math.log(4 / 3) / 16) / 2
    assert focal(logits, targets, 2.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.0])
def test_matches_plain_loops(gamma) -> None:
    logits = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    targets = torch.rand(2, 3, 4, dtype=torch.float64)
    total = 0.0
    for (normal, anomalous), t in zip(
        logits.permute(0, 2, 3, 1).reshape(-1, 2).tolist(), targets.flatten().tolist(), strict=True
    ):
        p = 1 / (1 + math.exp(normal - anomalous))
        total -= t * (1 - p) ** gamma * math.log(p) + (1 - t) * p**gamma * math.log(1 - p)
    assert focal(logits, targets, gamma).item() == pytest.approx(total / 24)


def test_gamma_zero_is_cross_entropy() -> None:
    logits, labels = torch.randn(3, 2, 5), torch.randint(0, 2, (3, 5))
    expected = functional.cross_entropy(logits, labels)
    torch.testing.assert_close(focal(logits, labels.float(), 0.0), expected)


def test_gradient_and_its_limits() -> None:
    logits = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: focal(x, targets, 2.0), (logits,))
    extreme = torch.tensor([[[200.0, -200.0], [-200.0, 200.0]]], requires_grad=True)
    value = focal(extreme, torch.tensor([[1.0, 1.0]]), 2.0)
    value.backward()
    assert value.item() == pytest.approx(200)
    assert torch.isfinite(extreme.grad).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_hard_targets_cost_what_fractions_of_0_and_1_cost(gamma) -> None:
    margin = 20 * torch.randn(3, 50, dtype=torch.float64, requires_grad=True)
    truth = torch.rand(3, 50) > 0.5
    costs = [focal_of_margin(margin, t, gamma) for t in (truth, truth.double())]
    torch.testing.assert_close(*costs)
    slopes = [torch.autograd.grad(cost, margin)[0] for cost in costs]
    torch.testing.assert_close(*slopes)
    assert slopes[0].isfinite().all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected gamma >= 0, got -1"):
        PatchFocal(gamma=-1)
    with pytest.raises(ValueError, match="one of grid, image, image_probability; got 'px'"):
        PatchFocal(resolution="px")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected logits of shape \(1, 2, 4\), got \(1, 2, 3\)"):
        focal(torch.zeros(1, 2, 3), torch.zeros(1, 4))
