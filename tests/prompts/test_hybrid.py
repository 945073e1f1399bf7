from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.prompts.hybrid import Hybrid

NAMES = ("bottle", "pcb1")
BATCH = fake_batch()


def attached(tower=None, **arguments) -> tuple[FakeTower, Hybrid]:
    tower = tower or FakeTower()
    torch.manual_seed(0)
    strategy = Hybrid(**arguments)
    strategy.attach(tower)
    return tower, strategy


def run(tower, strategy, batch=BATCH):
    return strategy(NAMES, tower, batch, tower.encode_image(batch.images))


class Watched(FakeTower):
    """Notes the states that each text layer reads."""

    def encode_embeddings(self, embeddings, ids, layer_hook=None):
        self.before, self.after = [], []

        def look(layer, states):
            self.before.append(states)
            self.after.append(layer_hook(layer, states))
            return self.after[-1]

        return super().encode_embeddings(embeddings, ids, look)


def test_tokens_go_over_the_states_behind_the_first_one_in_the_layers_that_they_reach():
    tower, strategy = attached(Watched(), depth=3, length=2)
    features = tower.encode_image(BATCH.images)
    made = strategy.tokens.tokens(features.embedding)
    strategy(NAMES, tower, BATCH, features)
    tokens = made[-1]  # the last image was encoded last
    assert len(tower.after) == len(tower.text_layers)
    for layer, (before, after) in enumerate(zip(tower.before, tower.after, strict=True)):
        if layer in (1, 2):
            assert torch.equal(after[:, :1], before[:, :1])
            assert torch.equal(after[:, 1:3], tokens[layer - 1].expand(len(after), -1, -1))
            assert torch.equal(after[:, 3:], before[:, 3:])
        else:
            assert after is before


def test_each_image_has_its_prototypes_and_they_follow_the_image_and_the_class():
    tower, strategy = attached()
    made = run(tower, strategy)
    assert made.per_image
    assert made.class_names == BATCH.categories
    assert made.embeddings.shape == (4, 2, tower.embed_dim)
    same_class = replace(BATCH, categories=("bottle",) * 4)
    others = run(tower, strategy, same_class).embeddings
    torch.testing.assert_close(others[:2], made.embeddings[:2])
    assert not torch.allclose(others[2:], made.embeddings[2:], atol=1e-4)
    assert not torch.allclose(others[0], others[1], atol=1e-4)


def test_static_prompts_alone_are_one_pair_per_class():
    tower, strategy = attached(dynamic=False)
    assert not strategy.per_image
    made = strategy(NAMES, tower)
    assert made.class_names == NAMES
    assert made.embeddings.shape == (2, 2, tower.embed_dim)
    torch.testing.assert_close(run(tower, strategy).embeddings, made.embeddings)


def test_dynamic_prompts_alone_have_no_static_ones():
    tower, strategy = attached(static=False)
    names = {name for name, _ in strategy.named_parameters()}
    assert names == {"tokens.dynamic.weight", "tokens.dynamic.bias"}
    assert run(tower, strategy).per_image


def test_dynamic_tokens_are_made_from_the_plain_embedding_where_there_is_one():
    tower, strategy = attached()
    features = tower.encode_image(BATCH.images)
    plain = strategy(NAMES, tower, BATCH, features).embeddings
    shifted = replace(features, embedding=features.embedding + 1, context=features.embedding)
    assert torch.equal(strategy(NAMES, tower, BATCH, shifted).embeddings, plain)
    moved = replace(features, context=features.embedding + 1)
    assert not torch.allclose(strategy(NAMES, tower, BATCH, moved).embeddings, plain, atol=1e-4)


def test_prototypes_are_normalised_means_of_unit_sentences():
    tower, strategy = attached(dynamic=False, depth=2)
    sides = []

    def hook(layer, states):
        tokens = strategy.tokens.static[0].expand(len(states), -1, -1)
        return torch.cat([states[:, :1], tokens, states[:, 6:]], 1) if layer == 1 else states

    for texts in strategy.ensemble.prompts("glass bottle"):
        total = torch.zeros(tower.embed_dim)
        for text in texts:
            ids = tower.tokenize([text])
            total += functional.normalize(
                tower.encode_embeddings(tower.embed_tokens(ids), ids, hook)[0], dim=0
            )
        sides.append(functional.normalize(total, dim=0))
    found = strategy(("bottle",), tower).embeddings[0]
    torch.testing.assert_close(found, torch.stack(sides), rtol=0, atol=1e-5)


def test_the_image_gets_no_gradient_from_its_words():
    tower, strategy = attached()
    features = tower.encode_image(BATCH.images)
    features = replace(features, embedding=features.embedding.clone().requires_grad_())
    strategy(NAMES, tower, BATCH, features).embeddings[:, 1].sum().backward()
    assert features.embedding.grad is None
    assert strategy.tokens.dynamic.weight.grad.abs().sum() > 0


def test_refusals(tmp_path):
    tower, strategy = attached()
    with pytest.raises(ValueError, match="expected a batch for dynamic prompts, got none"):
        strategy(NAMES, tower)
    with pytest.raises(ValueError, match="expected image embeddings of an aligned tower"):
        strategy(NAMES, tower, BATCH)
    with pytest.raises(ValueError, match=r"expected depth in \[2, 1000\], got 1"):
        Hybrid(depth=1)
    with pytest.raises(ValueError, match="expected static or dynamic prompts, got neither"):
        Hybrid(static=False, dynamic=False)
    with pytest.raises(ValueError, match="expected a text tower of at least 10 layers, got 9"):
        attached(depth=10)
    short = tmp_path / "short.yaml"
    short.write_text(
        '{normal: ["{}"], anomalous: ["a broken {}"], templates: ["{}", "a photo of {}"]}'
    )
    tower, strategy = attached(ensemble=str(short), dynamic=False)
    with pytest.raises(ValueError, match=r"sentences of at least 5 tokens .* in 'glass bottle'"):
        strategy(NAMES, tower)
