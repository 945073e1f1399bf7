"""Adapters in a row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.adapters.base import Adapter
from clad.adapters.chained import Chained
from clad.alignment import align
from clad.types import TextPrototypes


class Shift(Adapter):
    """Adds a number to the pooled vector's first entry, and to image logits."""

    def __init__(self, by, scale=None, aligns=False):
        super().__init__()
        self.by, self.scale, self.aligns = by, scale, aligns
        self.towers = []

    @property
    def logit_scale(self):
        return self.scale

    def attach(self, tower):
        self.towers.append(tower)

    def forward(self, features):
        moved = features.pooled.clone()
        moved[:, 0] = moved[:, 0] * 2 + self.by
        return replace(features, pooled=functional.normalize(moved, dim=-1))

    def refine(self, features, alignment):
        return replace(alignment, image_logits=alignment.image_logits * 2 + self.by)


def test_each_gets_what_the_one_before_gives():
    tower = FakeTower()
    first, second = Shift(1.0), Shift(5.0, aligns=True)
    chained = Chained([first, second])
    chained.attach(tower)
    features = tower.encode_image(fake_batch().images)
    found = chained(features)
    torch.testing.assert_close(found.pooled, second(first(features)).pooled)
    assert not torch.allclose(found.pooled, first(second(features)).pooled)
    prototypes = TextPrototypes(("a",), torch.eye(tower.embed_dim)[None, :2])
    alignment = align(found, prototypes, ("a",) * len(found.pooled), 1.0)
    refined = chained.refine(found, alignment).image_logits
    torch.testing.assert_close(refined, (alignment.image_logits * 2 + 1) * 2 + 5)
    assert first.towers == second.towers == [tower]
    assert chained.aligns
    assert not chained.aligns_untrained


def test_the_last_multiplier_counts():
    three, five = torch.tensor(3.0), torch.tensor(5.0)
    assert Chained([Shift(0, three), Shift(0, five), Shift(0)]).logit_scale is five
    assert Chained([Shift(0), Shift(0)]).logit_scale is None


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="expected at least one adapter, got none"):
        Chained([])
