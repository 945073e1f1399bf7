"""SAM by hand on a quadratic, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clad.optim.sam import SAM


def closure_of(optimizer, loss, seen=None):
    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if seen is not None:
            seen.append(value.item())
        return value

    return closure


def test_two_steps_on_a_quadratic_by_hand():
    # f = 2 a^2 + b^2 / 2, gradient (4 a, b); from (1, 3): g = (4, 3), |g| = 5, rho / |g| = 0.1,
    # uphill (1.4, 3.3), gradient there (5.6, 3.3), so w = (1, 3) - 0.1 (5.6, 3.3) = (0.44, 2.67).
    a, b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor([3.0]))
    optimizer = SAM([{"params": [a]}, {"params": [b]}], lr=0.1, momentum=0.5, rho=0.5)
    seen = []
    closure = closure_of(optimizer, lambda: 2 * a**2 + b.sum() ** 2 / 2, seen)
    assert optimizer.step(closure).item() == pytest.approx(6.5)
    assert (a.item(), b.item()) == pytest.approx((0.44, 2.67))
    assert seen == pytest.approx([6.5, 2 * 1.4**2 + 3.3**2 / 2])
    # Then g = (1.76, 2.67); momentum keeps half of the gradient before.
    norm = (1.76**2 + 2.67**2) ** 0.5
    uphill = (0.44 + 0.5 * 1.76 / norm, 2.67 + 0.5 * 2.67 / norm)
    expected = (
        0.44 - 0.1 * (0.5 * 5.6 + 4 * uphill[0]),
        2.67 - 0.1 * (0.5 * 3.3 + uphill[1]),
    )
    optimizer.step(closure)
    assert (a.item(), b.item()) == pytest.approx(expected)


def test_without_a_climb_it_is_sgd():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    twin = nn.Linear(3, 2)
    twin.load_state_dict(net.state_dict())
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
    optimizer = SAM(net.parameters(), rho=0, **settings)
    plain = torch.optim.SGD(twin.parameters(), **settings)
    images = torch.randn(8, 3)
    for _ in range(4):
        optimizer.step(closure_of(optimizer, lambda: net(images).square().mean()))
        plain.step(closure_of(plain, lambda: twin(images).square().mean()))
    torch.testing.assert_close(net.state_dict(), twin.state_dict())


def test_weights_without_a_gradient_and_a_flat_loss_stay_where_they_are():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = SAM([used, unused], lr=0.1)
    optimizer.step(closure_of(optimizer, lambda: (used * 0).sum()))
    assert used.tolist() == unused.tolist() == [1, 1]


def test_a_step_without_a_closure_and_a_negative_radius_are_refused():
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=r"expected a closure for SAM, .* bf16-mixed"):
        SAM([weight]).step()
    with pytest.raises(ValueError, match=r"expected rho in \[0, 1000.0\], got -1"):
        SAM([weight], rho=-1)
