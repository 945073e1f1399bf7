from __future__ import annotations

import torch
from fakes import FakeTower

from clad.prompts.random_pair import RandomPair


def test_random_directions_are_alike_for_all_classes_and_make_the_round_trip():
    tower = FakeTower()
    strategy, other = RandomPair(), RandomPair()
    strategy.attach(tower)
    other.attach(tower)
    made = strategy(("bottle", "pcb1"), tower).embeddings
    assert torch.equal(made[0], made[1])
    assert not torch.equal(other(("bottle",), tower).embeddings, made[:1])
    other.load_state_dict(strategy.state_dict())
    assert torch.equal(other(("bottle",), tower).embeddings, made[:1])
