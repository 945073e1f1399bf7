"""Every prompt strategy of configs/prompts keeps the contract, a newcomer's without a line here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import FakeTower, build_slot, fake_batch

from clad.prompts.base import PromptStrategy
from clad.types import TextPrototypes

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "prompts").glob("*.yaml"))
NAMES = ("metal_nut", "pcb1", "never_heard_of")


def build(path: Path, tower: FakeTower) -> PromptStrategy:
    strategy = build_slot(path, "prompts", PromptStrategy)
    strategy.attach(tower)
    return strategy


def run(strategy: PromptStrategy, tower: FakeTower, names=NAMES) -> TextPrototypes:
    batch = fake_batch(categories=names, labels=[row % 2 for row in range(len(names))])
    batch = batch.to(tower.mean.device)
    return strategy(names, tower, batch, tower.encode_image(batch.images))


def check_shape_order_and_norm(path: Path) -> None:
    tower = FakeTower()
    strategy = build(path, tower)
    made = run(strategy, tower)
    assert made.class_names == NAMES
    assert made.per_image == strategy.per_image
    assert made.embeddings.shape == (len(NAMES), 2, tower.embed_dim)
    assert made.embeddings.dtype == torch.float32
    torch.testing.assert_close(made.embeddings.norm(dim=-1), torch.ones(len(NAMES), 2))
    assert not torch.allclose(made.embeddings[:, 0], made.embeddings[:, 1], atol=1e-3)
    if not strategy.per_image:
        turned = run(strategy, tower, NAMES[::-1]).embeddings.flip(0)
        torch.testing.assert_close(turned, made.embeddings)
        alone = run(strategy, tower, NAMES[:1]).embeddings
        torch.testing.assert_close(alone, made.embeddings[:1])


def check_bank(path: Path) -> None:
    tower = FakeTower()
    bank = run(build(path, tower), tower).bank
    if bank is None:
        return
    count = len(bank.texts)
    assert len(bank.class_names) == len(bank.labels) == len(bank.defect_types) == count
    assert bank.embeddings.shape == (count, tower.embed_dim)
    torch.testing.assert_close(bank.embeddings.norm(dim=-1), torch.ones(count))
    described = set(zip(bank.class_names, bank.labels, strict=True))
    assert described == {(name, label) for name in NAMES for label in (0, 1)}
    kinds = zip(bank.labels, bank.defect_types, strict=True)
    assert all((label == 0) == (kind == "good") for label, kind in kinds)


def check_determinism(path: Path) -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        tower = FakeTower()
        strategy = build(path, tower)
        made += [run(strategy, tower).embeddings, run(strategy, tower).embeddings]
    for other in made[1:]:
        assert torch.equal(made[0], other)


def check_refusals(path: Path) -> None:
    tower = FakeTower()
    strategy, batch = build(path, tower), fake_batch()
    features = tower.encode_image(batch.images)
    with pytest.raises(ValueError, match="expected at least one class name"):
        strategy((), tower, batch, features)
    with pytest.raises(ValueError, match=r"each class name once, got .'pcb1'. more"):
        strategy(("pcb1", "pcb1"), tower, batch, features)


def check_gradient(path: Path) -> None:
    tower = FakeTower()
    strategy = build(path, tower)
    made = run(strategy, tower).embeddings
    own = [parameter for parameter in strategy.parameters() if parameter.requires_grad]
    assert made.requires_grad == bool(own)
    if own:
        (made * torch.randn(made.shape)).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in own)
    assert all(parameter.grad is None for parameter in tower.parameters())


def check_device(path: Path) -> None:
    """The meta device refuses to be mixed with others, which stands for any accelerator."""
    tower = FakeTower()
    strategy = build(path, tower).to("meta")
    made = run(strategy, tower.to("meta"))
    assert made.embeddings.device.type == "meta"
    assert made.bank is None or made.bank.embeddings.device.type == "meta"


CHECKS = (
    check_shape_order_and_norm,
    check_bank,
    check_determinism,
    check_refusals,
    check_gradient,
    check_device,
)

TOY_MODULE = '''
import torch
from torch import nn
from torch.nn import functional

from clad.prompts.base import PromptStrategy, encode_texts, expect_class_names
from clad.types import TextPrototypes


class ToyPrompts(PromptStrategy):
    """One sentence per state and a learnt shift.

    Args:
        sentence: Takes the class name.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence

    def attach(self, tower):
        self.shift = nn.Parameter(torch.zeros(2, tower.embed_dim))

    def forward(self, class_names, tower, batch=None, features=None):
        names = expect_class_names(class_names)
        texts = [self.sentence.format(s, n) for n in names for s in ("good", "bad")]
        rows = encode_texts(tower, texts).unflatten(0, (len(names), 2)) + self.shift
        return TextPrototypes(names, functional.normalize(rows, dim=-1))
'''

TOY_CONFIG = """
model:
  prompts:
    class_path: clad_toy_prompts.ToyPrompts
    init_args: {sentence: "a {} {}"}
"""


def test_configs_are_found() -> None:
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_prompt_contract(path, check) -> None:
    check(path)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_new_strategy_is_one_file_and_one_yaml(tmp_path, monkeypatch, check) -> None:
    (tmp_path / "clad_toy_prompts.py").write_text(TOY_MODULE)
    (tmp_path / "toy.yaml").write_text(TOY_CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    (path,) = tmp_path.glob("*.yaml")
    check(path)


def test_the_contract_notices_a_strategy_without_unit_norm(tmp_path, monkeypatch) -> None:
    broken = TOY_MODULE.replace("functional.normalize(rows, dim=-1)", "rows")
    (tmp_path / "clad_broken_prompts.py").write_text(broken)
    (tmp_path / "broken.yaml").write_text(TOY_CONFIG.replace("clad_toy", "clad_broken"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match="not close"):
        check_shape_order_and_norm(tmp_path / "broken.yaml")
