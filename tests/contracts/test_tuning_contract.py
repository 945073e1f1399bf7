"""Every tuning of configs/tuning keeps the contract, a newcomer's without a line here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import jsonargparse
import pytest
import torch
import yaml
from fakes import FakeTower, build_slot, fake_batch
from torch import Tensor

from clad.tasks.checkpoint import without_frozen
from clad.towers.base import Tower
from clad.tuning.base import Tuning

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "tuning").glob("*.yaml"))
TINY_CLIP = Path(__file__).parents[2] / "configs" / "tower" / "open_clip_tiny.yaml"
TEXTS = ["a photo of a screw", "a broken metal nut"]


def tiny_clip() -> Tower:
    """open_clip's transformers with more blocks, so that any tuning finds enough of them."""
    content = yaml.safe_load(TINY_CLIP.read_text(encoding="utf-8"))
    arguments = content["model"]["tower"]["init_args"]
    arguments["model_name"]["vision_cfg"]["layers"] = 6
    arguments["layers"] = [3, 6]
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--tower", type=Tower)
    return parser.instantiate_classes(parser.parse_object(content["model"])).tower


TOWERS: dict[str, Callable[[], Tower]] = {"fake": FakeTower, "open_clip": tiny_clip}


class Bench:
    """A tuning from its YAML, applied to a tower; ``plain`` is the tower before."""

    def __init__(self, path: Path, tower: str) -> None:
        self.path = path
        self.make = TOWERS[tower]
        self.plain = self.make()
        self.tuning, self.tower, self.original = self.tuned(seed=0)

    def tuned(self, seed: int) -> tuple[Tuning, Tower, set[int]]:
        """Tuning, tower, and the identities of the weights that the tower had."""
        tower = copy.deepcopy(self.plain)
        original = {id(weight) for weight in tower.parameters()}
        torch.manual_seed(seed)
        tuning = build_slot(self.path, "tuning", Tuning)
        tuning.apply(tower)
        return tuning, tower, original

    def learning(self) -> dict[str, Tensor]:
        return {n: weight for n, weight in self.tower.named_parameters() if weight.requires_grad}

    def descend(self, steps: int = 2) -> None:
        """A few steps in training mode towards other outputs."""
        optimizer = torch.optim.SGD(self.learning().values(), lr=0.05)
        self.tower.train()
        for _ in range(steps):
            optimizer.zero_grad()
            target(self.tower).backward()
            optimizer.step()
        self.tower.eval()


@pytest.fixture(params=[pytest.param((p, t), id=f"{p.stem}-{t}") for p in CONFIGS for t in TOWERS])
def bench(request) -> Bench:
    return Bench(*request.param)


def outputs(tower: Tower) -> list[Tensor]:
    features = tower.encode_image(fake_batch().images)
    return [*features.tokens, *features.patches, features.pooled, tower.encode_text(TEXTS)]


def target(tower: Tower) -> Tensor:
    return torch.stack(
        [(each * torch.linspace(-1, 1, each.shape[-1])).square().mean() for each in outputs(tower)]
    ).sum()


def test_configs_are_found():
    assert {"frozen", "full", "last_n"} <= {path.stem for path in CONFIGS}


def test_outputs_are_finite_and_of_the_same_shape_at_the_start(bench):
    for before, after in zip(outputs(bench.plain), outputs(bench.tower), strict=True):
        assert after.shape == before.shape
        assert after.isfinite().all()


def test_what_it_added_is_its_own_and_the_rest_is_the_towers(bench):
    for name, weight in bench.tower.named_parameters():
        assert bench.tuning.is_own(name) == (id(weight) not in bench.original), name
    assert not any(bench.tuning.is_own(name) for name in bench.plain.state_dict())


def test_only_what_learns_changes(bench):
    learning = set(bench.learning())
    before = {name: value.clone() for name, value in bench.tower.state_dict().items()}
    if learning:
        bench.descend()
    after = bench.tower.state_dict()
    changed = {n for n, value in after.items() if not torch.equal(value, before[n])}
    assert changed <= learning
    assert bool(changed) == bool(learning)


def test_every_weight_that_learns_gets_a_gradient(bench):
    if not bench.learning():
        return
    bench.descend(1)  # what starts at zero hides what lies before it
    bench.tower.zero_grad()
    target(bench.tower).backward()
    unused = {"model.logit_scale"}  # CLIP's own, which only the loss of its pretraining used
    still = {name for name, weight in bench.learning().items() if weight.grad is None} - unused
    assert not still, f"no gradient reaches {still}"


def test_training_mode_is_only_where_something_learns(bench):
    bench.tower.train()
    assert bench.tower.training == bool(bench.learning())
    for module in bench.tower.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            assert not module.training
    bench.tower.eval()
    assert not any(module.training for module in bench.tower.modules())


def test_a_checkpoint_brings_the_outputs_back_without_the_frozen_base(bench):
    if bench.learning():
        bench.descend()
    kept = without_frozen(
        {f"tower.{name}": value for name, value in bench.tower.state_dict().items()},
        bench.tower,
        bench.tuning,
    )
    frozen = {
        f"tower.{name}"
        for name, weight in bench.tower.named_parameters()
        if id(weight) in bench.original and not weight.requires_grad
    }
    assert not frozen & set(kept)
    _, fresh, _ = bench.tuned(seed=1)
    state = {name.removeprefix("tower."): value for name, value in kept.items()}
    assert fresh.load_state_dict(state, strict=False).unexpected_keys == []
    for expected, found in zip(outputs(bench.tower), outputs(fresh), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_it_runs_in_inference_mode_and_on_half_the_batch(bench):
    images = fake_batch().images
    with torch.inference_mode():
        together = bench.tower.encode_image(images)
        alone = bench.tower.encode_image(images[:2])
    torch.testing.assert_close(alone.pooled, together.pooled[:2], atol=1e-5, rtol=1e-4)
