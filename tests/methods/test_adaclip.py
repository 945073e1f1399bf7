"""AdaCLIP as a recipe: equal to a slow version written out from the paper, and its own promises."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import slow_adaclip as slow
import torch
from fakes import fake_batch

from clad.adapters.layer_projection import LayerProjection
from clad.adapters.semantic_fusion import SemanticFusion
from clad.heads.patch_text import PatchText
from clad.losses.image_focal import ImageFocal
from clad.losses.patch_dice import PatchDice
from clad.losses.patch_focal import PatchFocal
from clad.prompts.hybrid import Hybrid
from clad.tasks.anomaly_task import AnomalyTask
from clad.towers.open_clip import OpenClipTower
from clad.tuning.hybrid_prompts import HybridPrompts

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 4},
}
LAYERS, HEADS, DEPTH, LENGTH, CLUSTERS = (2, 4), (2, 2), 3, 2, 2
NAMES, SIGMA_PX = ("screw", "zipper"), 2.0


def make_task(seed: int = 0) -> AnomalyTask:
    """The recipe in small, with learned parts so large that each of them matters."""
    torch.manual_seed(seed)
    prompts = {"depth": DEPTH, "length": LENGTH}
    task = AnomalyTask(
        OpenClipTower(CLIP, "random", layers=LAYERS),
        PatchText(output="probability", score="image", average="logits", sigma_px=SIGMA_PX),
        Hybrid(**prompts),
        SemanticFusion(LayerProjection(pooled="linear"), num_clusters=CLUSTERS),
        [
            ImageFocal(),
            PatchFocal(resolution="image"),
            PatchDice(channels="both", resolution="image", overlap="row"),
        ],
        HybridPrompts(**prompts),
        temperature=1 / slow.SCALE,
    )
    task.attach(NAMES)
    with torch.no_grad():
        for parameter in (task.tower.image_prompts.static, task.prompts.tokens.static):
            parameter.normal_()
    return task


def make_batch():
    batch = fake_batch(NAMES, (1, 0), seed=3)
    masks = batch.masks.clone()
    masks[0, 5:21, 9:30] = True
    return replace(batch, masks=masks)


def split(layer: torch.nn.Linear, count: int):
    """A stacked linear layer as ``count`` pairs of double leaves."""
    weights = [part.clone() for part in layer.weight.detach().double().chunk(count)]
    biases = [part.clone() for part in layer.bias.detach().double().chunk(count)]
    return [(w.requires_grad_(), b.requires_grad_()) for w, b in zip(weights, biases, strict=True)]


def leaf(value: torch.Tensor) -> torch.Tensor:
    return value.detach().double().clone().requires_grad_()


def learned_of(task: AnomalyTask) -> slow.Learned:
    image, text = task.tower.image_prompts, task.prompts.tokens
    projection = task.adapter.adapter
    unread = torch.zeros_like(text.static[:1])
    return slow.Learned(
        image_static=leaf(image.static),
        image_dynamic=split(image.dynamic, LENGTH),
        text_static=leaf(torch.cat([unread, text.static])),
        text_dynamic=split(text.dynamic, LENGTH),
        patch_layers=[split(layer, 1)[0] for layer in projection.layers],
        image_layer=split(projection.image, 1)[0],
    )


def scores_of(task: AnomalyTask, batch) -> torch.Tensor:
    with torch.no_grad():
        features = task.encode(batch)
        return task.compare(features, task.prototypes(batch, features), batch).image_logits


def step(task: AnomalyTask, batch) -> torch.Tensor:
    task.log = lambda *args, **options: None
    task.trainer = SimpleNamespace(global_step=0)
    return task.training_step(batch, 0)


@pytest.fixture(scope="module")
def both():
    """Task and batch beside the slow answers and loss, with gradients of the loss on both sides."""
    task, batch = make_task(), make_batch()
    clip = {name: value.double() for name, value in task.tower.model.state_dict().items()}
    learned = learned_of(task)
    answers = [
        slow.look(image, name, clip, HEADS, LAYERS, learned, CLUSTERS)
        for image, name in zip(batch.images, batch.categories, strict=True)
    ]
    rows = zip(answers, batch.labels.tolist(), batch.masks.double(), strict=True)
    slow_loss = sum(slow.loss(*row) for row in rows) / len(answers)
    slow_loss.backward()
    loss = step(task, batch)
    loss.backward()
    return SimpleNamespace(
        task=task, batch=batch, learned=learned, answers=answers, slow_loss=slow_loss, loss=loss
    )


def largest_difference(found, expected) -> float:
    return (found.double() - expected.double()).abs().max().item()


def test_prototypes_logits_and_loss_equal_the_slow_version(both):
    features, alignment = both.task._look(both.batch)
    prototypes = both.task.prototypes(both.batch, features)
    for row, answer in enumerate(both.answers):
        assert largest_difference(prototypes.embeddings[row], answer.text) < 1e-5
        # Cosines, which the scale of 100 would hide behind rounding.
        found = alignment.image_logits[row] / slow.SCALE
        assert largest_difference(found, answer.image_logits / slow.SCALE) < 1e-5
        for layer, expected in zip(alignment.patch_logits, answer.patch_logits, strict=True):
            assert largest_difference(layer[row] / slow.SCALE, expected / slow.SCALE) < 1e-5
    assert both.loss.item() == pytest.approx(both.slow_loss.item(), rel=1e-5)


def test_score_and_map_equal_the_slow_version(both):
    both.task._is_trained = True
    found = both.task(both.batch)
    for row, answer in enumerate(both.answers):
        assert largest_difference(found.scores[row], answer.image_logits.softmax(0)[1]) < 1e-5
        expected = slow.anomaly_map(answer.patch_logits, found.maps.shape[1:], SIGMA_PX)
        assert largest_difference(found.maps[row], torch.from_numpy(expected)) < 1e-5


def test_gradients_of_every_learned_part_equal_the_slow_version(both):
    image, text = both.task.tower.image_prompts, both.task.prompts.tokens
    projection, learned = both.task.adapter.adapter, both.learned
    assert not learned.text_static.grad[0].any(), "the first layer's tokens are never read"
    pairs = [(image.static, learned.image_static.grad), (text.static, learned.text_static.grad[1:])]
    stacked = [
        (image.dynamic, learned.image_dynamic),
        (text.dynamic, learned.text_dynamic),
        (projection.image, [learned.image_layer]),
        *(
            (layer, [own])
            for layer, own in zip(projection.layers, learned.patch_layers, strict=True)
        ),
    ]
    for layer, parts in stacked:
        pairs.append((layer.weight, torch.cat([weight.grad for weight, _ in parts])))
        pairs.append((layer.bias, torch.cat([bias.grad for _, bias in parts])))
    for parameter, expected in pairs:
        scale = expected.abs().max().item()
        assert scale > 0
        assert largest_difference(parameter.grad, expected) < 1e-4 * scale
    learning = [p for p in both.task.parameters() if p.requires_grad]
    assert len(learning) == len(pairs)


def test_nothing_frozen_gets_a_gradient(both):
    for name, value in both.task.named_parameters():
        own = not name.startswith("tower.") or name.startswith("tower.image_prompts.")
        assert value.requires_grad == own, name
        assert (value.grad is not None and bool(value.grad.any())) == own, name


def test_a_checkpoint_holds_the_learned_parts_alone_and_brings_them_back(both):
    checkpoint = {"state_dict": both.task.state_dict()}
    both.task.on_save_checkpoint(checkpoint)
    learned = {name for name, p in both.task.named_parameters() if p.requires_grad}
    assert set(checkpoint["state_dict"]) == learned
    fresh = make_task(seed=1)
    assert not torch.allclose(scores_of(fresh, both.batch), scores_of(both.task, both.batch))
    fresh.on_load_checkpoint(checkpoint)
    fresh.load_state_dict(checkpoint["state_dict"], strict=False)
    assert torch.equal(scores_of(fresh, both.batch), scores_of(both.task, both.batch))


class Words:
    """What the text side asks of ViT-L/14: 768 channels."""

    embed_dim = 768

    def tokenize(self, texts):
        return torch.zeros(len(texts), 3, dtype=torch.int64)

    def embed_tokens(self, ids):
        return torch.zeros(*ids.shape, 768)

    def encode_embeddings(self, embeddings, ids, layer_hook):
        for layer in range(12):
            layer_hook(layer, embeddings)


def test_number_of_weights_for_vit_l_14():
    """4 layers of 5 tokens; width 1024 beside 768; 4 projections and one for the image."""
    trunk = SimpleNamespace(
        embed_dim=768,
        image_prompt_dim=1024,
        image_prompt_layers=24,
        token_dims=(1024,) * 4,
        mean=torch.zeros(1),
        freeze=lambda: None,
    )
    HybridPrompts().apply(trunk)
    strategy, adapter = Hybrid(), LayerProjection(pooled="linear")
    strategy.attach(Words())
    adapter.attach(trunk)
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in (("image", trunk.image_prompts), ("text", strategy), ("adapter", adapter))
    }
    assert counts == {
        "image": 4 * 5 * 1024 + 5 * (768 * 1024 + 1024),
        "text": 3 * 5 * 768 + 5 * (768 * 768 + 768),
        "adapter": 4 * (1024 * 768 + 768) + 768 * 768 + 768,
    }
    assert sum(counts.values()) == 10_661_632
    unread = 5 * 768  # of the first text layer, which the published code keeps
    assert round((sum(counts.values()) + unread) * 4 / 2**20, 1) == 40.7
