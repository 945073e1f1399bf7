from __future__ import annotations

import math

import pytest
import torch
from tiny_runs import CATEGORIES, fitted, text_recipe, write_images

from clad.tasks.warmup_cosine import WarmupCosine


def rates(num_epochs: int, **settings) -> list[float]:
    """Rate of each epoch under the schedule."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    schedule = WarmupCosine(optimizer, num_epochs, **settings)
    found = []
    for _ in range(num_epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_published_run_of_two_epochs_has_one_of_either_rate() -> None:
    assert rates(2) == pytest.approx([1e-5, 2e-3])


def test_one_epoch_is_all_warm_up() -> None:
    assert rates(1) == [1e-5]


def test_longer_runs_follow_torchs_own_cosine_one_epoch_late() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    own = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    expected = [1e-5]
    for _ in range(19):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        own.step()
    assert rates(20) == pytest.approx(expected)


def test_without_warm_up_it_is_half_a_cosine() -> None:
    assert rates(4, warmup_epochs=0)[2] == pytest.approx(0.002 * (1 + math.cos(math.pi / 2)) / 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_epochs": 0}, "expected num_epochs in"),
        ({"num_epochs": 2, "warmup_epochs": -1}, "expected warmup_epochs in"),
        ({"num_epochs": 2, "warmup_rate": 0.0}, "expected warmup_rate in"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    with pytest.raises(ValueError, match=message):
        WarmupCosine(optimizer, **settings)


def test_the_trainer_steps_it_by_epoch_and_others_by_batch() -> None:
    for schedule, interval in (
        (lambda optimizer: WarmupCosine(optimizer, 2), "epoch"),
        (lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2), "step"),
    ):
        task = text_recipe(scheduler=schedule)
        task.attach(CATEGORIES)
        assert task.configure_optimizers()["lr_scheduler"]["interval"] == interval


@pytest.mark.filterwarnings("ignore")
def test_a_training_of_two_epochs_sees_both_rates(tmp_path) -> None:
    write_images(tmp_path)
    seen = []

    def optimizer(parameters):
        made = torch.optim.SGD(parameters, lr=0.002)
        made.register_step_pre_hook(lambda opt, *_: seen.append(opt.param_groups[0]["lr"]))
        return made

    task = text_recipe(optimizer=optimizer, scheduler=lambda opt: WarmupCosine(opt, 2))
    fitted(tmp_path, task, max_epochs=2)
    half = len(seen) // 2
    assert half >= 2
    assert seen == pytest.approx([1e-5] * half + [2e-3] * half)
