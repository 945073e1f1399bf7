from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.adapters.add_pooled import AddPooled
from clad.types import ImageFeatures


def test_by_hand():
    """(1, 0) + (0, 1) halves the angle; (0, 1) + (0, 1) stays."""
    patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    features = ImageFeatures(
        (torch.zeros(1, 2, 3),),
        ((1, 2),),
        torch.zeros(1, 3),
        (patches,),
        torch.tensor([[0.0, 1.0]]),
    )
    found = AddPooled()(features)
    expected = torch.tensor([[[0.5**0.5, 0.5**0.5], [0.0, 1.0]]])
    torch.testing.assert_close(found.patches[0], expected)
    assert torch.equal(found.pooled, features.pooled)


def test_logits_are_those_of_the_sum_over_its_length():
    """What the published code computes, but for the length of the sum."""
    tower = FakeTower()
    features = tower.encode_image(fake_batch().images)
    words = torch.nn.functional.normalize(torch.randn(tower.embed_dim), dim=0)
    summed = features.patches[0] + features.pooled[:, None]
    found = AddPooled()(features).patches[0] @ words
    torch.testing.assert_close(found * summed.norm(dim=-1), summed @ words)


def test_a_tower_without_text_space_is_refused():
    features = FakeTower(aligned=False).encode_image(fake_batch().images)
    with pytest.raises(ValueError, match="expected features aligned with text for AddPooled, got"):
        AddPooled()(features)
