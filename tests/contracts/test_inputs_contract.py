"""Every input transform of configs/inputs keeps the contract, a newcomer's without a line here."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import torch
from fakes import FakeTower, build_slot, fake_batch

from clad.inputs.base import InputTransform

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "inputs").glob("*.yaml"))
SIZES = ((96, 96), (80, 112))


class Bench:
    """An input transform from its YAML, attached to a tower of some size."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.path = path
        self.tower = FakeTower(image_size=size, aligned=True)
        self.tower.window_sides = ()
        self.images = fake_batch(image_size=(40, 56)).images

    def build(self) -> InputTransform:
        inputs = build_slot(self.path, "inputs", InputTransform)
        inputs.attach(self.tower)
        return inputs

    def build_learned(self, seed: int = 0) -> InputTransform:
        inputs = self.build()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in inputs.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return inputs

    def pixels(self, inputs: InputTransform, images: torch.Tensor | None = None) -> torch.Tensor:
        return inputs(inputs.prepare(self.images if images is None else images, self.tower))


CASES = [
    pytest.param((path, size), id=f"{path.stem}-{size[0]}x{size[1]}")
    for path in CONFIGS
    for size in SIZES
]


@pytest.fixture(params=CASES)
def bench(request) -> Bench:
    return Bench(*request.param)


def test_configs_are_found() -> None:
    assert CONFIGS


def test_pixels_have_the_towers_size(bench):
    found = bench.pixels(bench.build_learned())
    assert found.shape == (4, 3, *bench.tower.image_size)
    assert found.dtype == torch.float32
    assert found.isfinite().all()


def test_whole_numbers_and_fractions_are_the_same_image(bench):
    inputs = bench.build_learned()
    torch.testing.assert_close(
        bench.pixels(inputs), bench.pixels(inputs, bench.images.float() / 255)
    )


def test_an_image_is_changed_alone_as_in_a_batch(bench):
    inputs = bench.build_learned()
    alone = bench.pixels(inputs, bench.images[2:3])
    torch.testing.assert_close(alone, bench.pixels(inputs)[2:3])


def test_every_parameter_learns_and_the_tower_does_not(bench):
    inputs = bench.build()
    found = bench.tower.encode_pixels(bench.pixels(inputs))
    (found.pooled @ torch.linspace(-1, 1, bench.tower.embed_dim)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in inputs.parameters())
    assert all(p.grad is None for p in bench.tower.parameters())


def test_state_makes_the_round_trip(bench):
    learned, fresh = bench.build_learned(), bench.build()
    fresh.load_state_dict(learned.state_dict())
    assert torch.equal(bench.pixels(fresh), bench.pixels(learned))


def test_features_fit_their_grids_after_they_are_restored(bench):
    inputs = bench.build_learned()
    features = bench.tower.encode_pixels(bench.pixels(inputs))
    found = inputs.restore(features)
    assert [t.shape[1] for t in found.tokens] == [prod(grid) for grid in found.grids]
    grids = found.patch_grids or found.grids
    assert [p.shape[1] for p in found.patches] == [prod(grid) for grid in grids]
    for layer in found.patches:
        torch.testing.assert_close(layer.norm(dim=-1), torch.ones(layer.shape[:2]))
    for name in ("pooled", "summary"):
        assert torch.equal(getattr(found, name), getattr(features, name))


def test_device_follows(bench):
    """The meta device refuses to be mixed with others, which stands for any accelerator."""
    inputs = bench.build().to("meta")
    tower = bench.tower.to("meta")
    assert inputs(inputs.prepare(bench.images.to("meta"), tower)).device.type == "meta"
