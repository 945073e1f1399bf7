"""Groups of weights for the optimiser."""

from __future__ import annotations

import pytest
import torch
from fakes import FakeTower
from tiny_runs import CATEGORIES, text_recipe

from clad.tasks.learning_rates import learning_groups
from clad.tuning.full import Full


def names_of(task, weights) -> set[str]:
    by_id = {id(weight): name for name, weight in task.named_parameters()}
    return {by_id[id(weight)].partition(".")[0] for weight in weights}


def attached(**settings):
    task = text_recipe(**settings)
    task.attach(CATEGORIES)
    return task


def test_the_tower_has_a_rate_of_its_own():
    optimizer = attached(tuning=Full(), tower_learning_rate=1e-4).configure_optimizers()
    outside, inside = optimizer.param_groups
    assert (outside["lr"], inside["lr"]) == (0.01, 1e-4)


def test_groups_split_what_learns_and_leave_out_what_does_not():
    task = attached(tuning=Full())
    frozen = next(task.tower.parameters()).requires_grad_(False)
    outside, inside = learning_groups(task.parameters(), task.tower, 0.5)
    assert names_of(task, outside["params"]) == {"adapter"}
    assert names_of(task, inside["params"]) == {"tower"}
    assert all(weight is not frozen for weight in inside["params"])
    both = outside["params"] + inside["params"]
    assert len(both) == sum(p.requires_grad for p in task.parameters())


def test_without_a_rate_or_with_a_frozen_tower_there_is_one_group():
    assert len(attached(tuning=Full()).configure_optimizers().param_groups) == 1
    assert len(attached(tower_learning_rate=1e-4).configure_optimizers().param_groups) == 1


def test_a_schedule_keeps_the_ratio_of_the_rates():
    task = attached(
        tuning=Full(),
        tower_learning_rate=1e-4,
        scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
    )
    found = task.configure_optimizers()
    for _ in range(4):
        found["optimizer"].step()
        found["lr_scheduler"]["scheduler"].step()
    outside, inside = (group["lr"] for group in found["optimizer"].param_groups)
    assert outside < 0.01
    assert outside / inside == pytest.approx(100)


def test_a_rate_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"expected tower_learning_rate > 0, got 0\.0; to keep"):
        learning_groups([], FakeTower(), 0.0)
