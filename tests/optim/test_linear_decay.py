from __future__ import annotations

import pytest
import torch

from clad.optim.linear_decay import LinearDecay


def rates(total, share):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.2)
    scheduler = LinearDecay(optimizer, total, share)
    found = []
    for _ in range(total + 2):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_rates_by_hand():
    assert rates(8, 0.5) == pytest.approx([0.2] * 5 + [0.15, 0.1, 0.05, 0, 0])


def test_without_a_rest_it_falls_from_the_first_step():
    assert rates(4, 0) == pytest.approx([0.2, 0.15, 0.1, 0.05, 0, 0])


@pytest.mark.parametrize(("total", "share"), [(0, 0.5), (5, 1.0), (5, -0.1)])
def test_numbers_out_of_range_are_refused(total, share):
    with pytest.raises(ValueError, match="expected total_steps >= 1 and constant_share in"):
        LinearDecay(torch.optim.SGD([torch.ones(1)]), total, share)
