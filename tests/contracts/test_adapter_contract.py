"""Every adapter of configs/adapter keeps the contract, a newcomer's without a line here."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import torch
from fakes import FakeTower, build_slot, fake_batch

from clad.adapters.base import Adapter
from clad.checks import expect_unit_norm
from clad.types import ImageFeatures

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "adapter").glob("*.yaml"))


class Bench:
    """An adapter from its YAML on a tower that is aligned with text, or not."""

    def __init__(self, path: Path, aligned: bool) -> None:
        self.path = path
        self.tower = FakeTower(aligned=aligned)
        self.features = self.tower.encode_image(fake_batch().images)

    def build(self, seed: int = 0) -> Adapter:
        torch.manual_seed(seed)
        adapter = build_slot(self.path, "adapter", Adapter)
        adapter.attach(self.tower)
        return adapter.eval()


CASES = [
    pytest.param((path, aligned), id=f"{path.stem}-{'aligned' if aligned else 'unaligned'}")
    for path in CONFIGS
    for aligned in (True, False)
]


@pytest.fixture(params=CASES)
def bench(request) -> Bench:
    made = Bench(*request.param)
    if not (made.tower.is_aligned or made.build().aligns):
        pytest.skip("this adapter refines features that are aligned already")
    return made


def vectors(features: ImageFeatures) -> torch.Tensor:
    return torch.cat([features.pooled, *(p.flatten(0, 1) for p in features.patches)])


def test_tokens_pass_unchanged(bench):
    found = bench.build()(bench.features)
    for before, after in zip(bench.features.tokens, found.tokens, strict=True):
        assert torch.equal(before, after)
    assert found.grids == bench.features.grids
    assert torch.equal(found.summary, bench.features.summary)


def test_patches_and_pooled_live_in_text_space_on_grids_that_are_told(bench):
    found = bench.build()(bench.features)
    assert found.is_aligned
    grids = found.patch_grids or found.grids
    assert [p.shape for p in found.patches] == [(4, prod(g), bench.tower.embed_dim) for g in grids]
    assert found.pooled.shape == (4, bench.tower.embed_dim)
    assert vectors(found).isfinite().all()
    expect_unit_norm("adapted vectors", vectors(found), 1e-5)


def test_every_parameter_learns_and_the_tower_does_not(bench):
    adapter = bench.build()
    if not list(adapter.parameters()):
        return
    found = adapter(bench.features)
    target = torch.linspace(-1, 1, bench.tower.embed_dim)
    scale = 1.0 if adapter.logit_scale is None else adapter.logit_scale
    (scale * (vectors(found) @ target).square().mean()).backward()
    still = [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient reaches {still}"
    assert all(p.grad is None for p in bench.tower.parameters())


def test_an_image_is_adapted_alone_as_in_a_batch(bench):
    adapter = bench.build()
    together = adapter(bench.features)
    alone = adapter(bench.tower.encode_image(fake_batch().images[2:3]))
    torch.testing.assert_close(alone.pooled, together.pooled[2:3], atol=1e-5, rtol=1e-4)
    for one, all_ in zip(alone.patches, together.patches, strict=True):
        torch.testing.assert_close(one, all_[2:3], atol=1e-5, rtol=1e-4)


def test_state_makes_the_round_trip(bench):
    adapter, fresh = bench.build(), bench.build(seed=1)
    adapter.train()
    adapter(bench.features)  # batch statistics, where it keeps them
    fresh.load_state_dict(adapter.state_dict())
    assert torch.equal(vectors(fresh(bench.features)), vectors(adapter.eval()(bench.features)))


def test_scale_is_positive_and_bounded(bench):
    scale = bench.build().logit_scale
    assert scale is None or (scale.ndim == 0 and 0 < scale.item() <= 100)
