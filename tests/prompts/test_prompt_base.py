from __future__ import annotations

import torch
from fakes import FakeTower, fake_batch
from torch import nn
from torch.nn import functional

from clad.prompts.base import (
    TEXTS_PER_CALL,
    PromptStrategy,
    PrototypeCache,
    encode_texts,
    expect_class_names,
)
from clad.types import TextPrototypes


class CountingPrompts(PromptStrategy):
    """Counts its calls; learns a shift if asked to."""

    def __init__(self, learns: bool = False, per_image: bool = False) -> None:
        super().__init__()
        self.calls = 0
        self.per_image = per_image
        if learns:
            self.shift = nn.Parameter(torch.zeros(16))

    def forward(self, class_names, tower, batch=None, features=None) -> TextPrototypes:
        self.calls += 1
        names = expect_class_names(class_names)
        texts = [f"{state} {name}" for name in names for state in ("good", "bad")]
        rows = encode_texts(tower, texts).unflatten(0, (len(names), 2))
        if hasattr(self, "shift"):
            rows = rows + self.shift
        return TextPrototypes(names, functional.normalize(rows, dim=-1))


def test_nothing_learns_then_prototypes_are_made_once() -> None:
    strategy, tower, cache = CountingPrompts(), FakeTower(), PrototypeCache()
    first = cache.get(strategy, ["a", "b"], tower)
    assert cache.get(strategy, ("a", "b"), tower) is first
    assert strategy.calls == 1
    other = cache.get(strategy, ("b", "a"), tower)
    assert other.class_names == ("b", "a")
    assert cache.get(strategy, ("a", "b"), tower) is first
    assert strategy.calls == 2


def test_what_learns_is_made_anew() -> None:
    tower, cache = FakeTower(), PrototypeCache()
    for strategy in (CountingPrompts(learns=True), CountingPrompts(per_image=True)):
        for _ in range(3):
            cache.get(strategy, ("a",), tower, fake_batch())
        assert strategy.calls == 3
    strategy = CountingPrompts()
    tower.requires_grad_(True)
    made = [cache.get(strategy, ("a",), tower) for _ in range(2)]
    assert strategy.calls == 2
    assert made[0].embeddings.requires_grad
    tower.freeze()
    cache.get(strategy, ("a",), tower)
    cache.get(strategy, ("a",), tower)
    assert strategy.calls == 3


def test_another_device_strategy_or_tower_is_made_anew() -> None:
    strategy, tower, cache = CountingPrompts(), FakeTower(), PrototypeCache()
    cache.get(strategy, ("a",), tower)
    moved = cache.get(strategy, ("a",), tower.to("meta"))
    assert moved.embeddings.device.type == "meta"
    assert strategy.calls == 2
    other = CountingPrompts()
    made = cache.get(other, ("a",), FakeTower(seed=1))
    assert other.calls == 1
    assert not torch.equal(made.embeddings, cache.get(other, ("a",), FakeTower(seed=2)).embeddings)


def test_clear_forgets() -> None:
    strategy, tower, cache = CountingPrompts(), FakeTower(), PrototypeCache()
    cache.get(strategy, ("a",), tower)
    cache.clear()
    cache.get(strategy, ("a",), tower)
    assert strategy.calls == 2


def test_prototypes_of_a_validation_run_serve_training() -> None:
    """Lightning validates in inference mode, whose tensors autograd refuses later."""
    strategy, tower, cache = CountingPrompts(), FakeTower(), PrototypeCache()
    with torch.inference_mode():
        kept = cache.get(strategy, ("a",), tower).embeddings
    image = torch.randn(3, 16, requires_grad=True)
    (image @ kept[0].T).sum().backward()
    torch.testing.assert_close(image.grad, kept[0].sum(dim=0).expand(3, 16))


def test_kept_prototypes_are_made_in_full_precision() -> None:
    tower = FakeTower()
    plain = PrototypeCache().get(CountingPrompts(), ("a",), tower).embeddings
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = PrototypeCache().get(CountingPrompts(), ("a",), tower).embeddings
    assert torch.equal(plain, under)


def test_encoding_in_parts_equals_one_by_one() -> None:
    tower = FakeTower()
    texts = [f"word number {i} " + "more " * (i % 5) for i in range(2 * TEXTS_PER_CALL + 3)]
    calls: list[int] = []
    encode = tower.encode_text
    tower.encode_text = lambda texts: calls.append(len(texts)) or encode(texts)  # type: ignore
    made = encode_texts(tower, texts)
    assert calls == [TEXTS_PER_CALL, TEXTS_PER_CALL, 3]
    torch.testing.assert_close(made, torch.cat([encode([text]) for text in texts]))
    assert not made.requires_grad


def test_encoding_keeps_a_graph_where_the_tower_learns() -> None:
    tower = FakeTower()
    tower.text_projection.weight.requires_grad_(True)
    encode_texts(tower, ["a b", "c"]).sum().backward()
    assert tower.text_projection.weight.grad.abs().sum() > 0
