"""The fingerprint follows whatever decides a frozen tower's features, and nothing else."""

from __future__ import annotations

import torch
from fakes import FakeTower

from clad.tasks.tower_fingerprint import tower_fingerprint


class OtherTower(FakeTower):
    """The same weights under another class."""


def test_fingerprint_follows_classes_settings_functions_and_weights():
    def changed(name, value):
        tower = FakeTower()
        setattr(tower, name, value)
        return tower_fingerprint(tower)

    same = {tower_fingerprint(FakeTower()) for _ in range(3)}
    assert len(same) == 1
    frozen_again = FakeTower()
    frozen_again.requires_grad_(True)
    assert tower_fingerprint(frozen_again) in same
    others = [
        tower_fingerprint(FakeTower(seed=1)),
        tower_fingerprint(FakeTower(image_size=(64, 64))),
        tower_fingerprint(OtherTower()),
        changed("layers", (3, 7)),
        changed("interpolation", "bicubic"),
        changed("activation", torch.tanh),
        changed("activation", torch.relu),
    ]
    tower = FakeTower()
    with torch.no_grad():
        tower.positions[0, 0] += 1e-6
    others.append(tower_fingerprint(tower))
    tower = FakeTower()
    tower.convolutions[0].stride = (4, 4)
    others.append(tower_fingerprint(tower))
    assert len({*same, *others}) == len(others) + 1
