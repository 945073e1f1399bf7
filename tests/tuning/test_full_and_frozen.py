from __future__ import annotations

from fakes import FakeTower, fake_batch

from clad.tuning.frozen import Frozen
from clad.tuning.full import Full


def learning(tower) -> set[str]:
    return {name for name, value in tower.named_parameters() if value.requires_grad}


def test_frozen_stops_every_weight_and_stays_in_evaluation_mode():
    tower = FakeTower()
    tower.requires_grad_(True)
    Frozen().apply(tower)
    assert learning(tower) == set()
    assert not tower.train().training


def test_full_lets_every_weight_learn_in_training_mode():
    tower = FakeTower()
    Full().apply(tower)
    assert learning(tower) == {name for name, _ in tower.named_parameters()}
    assert tower.train().training
    features = tower.encode_image(fake_batch().images)
    (features.pooled.sum() + tower.encode_text(["a nut"]).sum()).backward()
    assert tower.convolutions[0].weight.grad.abs().sum() > 0
    assert tower.words.weight.grad.abs().sum() > 0
