"""The recipe configs/recipes/repdfd.yaml, around a tiny CLIP and a made-up face encoder."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slow_repdfd as slow
import torch
import yaml
from fakes import FakeFaceEncoder, FakeTower, fake_batch, with_fake_encoder
from lightning.pytorch.cli import LightningArgumentParser
from torch.nn import functional

from clad.inputs.border import LearnableBorder
from clad.tasks.anomaly_task import AnomalyTask
from clad.towers.open_clip import OpenClipTower

RECIPE = Path(__file__).parents[2] / "configs" / "recipes" / "repdfd.yaml"
TINY = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 48, "heads": 4, "layers": 3},
}
HEADS = (4, 4)
SIDE, PADDING = 32, 6
INNER = SIDE - 2 * PADDING
TOLERANCE = 1e-5
LABELS = [0, 1, 1, 0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, stronger than CLIP's first ones so that scores spread."""
    state = OpenClipTower(TINY, "random", random_seed=5).model.state_dict()
    generator = torch.Generator().manual_seed(2)
    for tensor in state.values():
        if tensor.is_floating_point() and tensor.ndim:
            noise = torch.randn(tensor.shape, generator=generator)
            tensor += (0.2 if tensor.ndim == 1 else 0.08) * noise
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save(state, path)
    return path


def build(weights: Path, seed: int = 0, **prompts: str) -> AnomalyTask:
    """The recipe with a tiny tower and a narrow border in place of its own."""
    model = with_fake_encoder(yaml.safe_load(RECIPE.read_text())["model"])
    model["tower"]["init_args"] = {"model_name": TINY, "pretrained": str(weights)}
    model["inputs"]["init_args"]["padding"] = PADDING
    model["prompts"]["init_args"] |= {
        "encoder": {"class_path": "fakes.FakeFaceEncoder", "init_args": {"gain": 3.0}}, **prompts
    }  # fmt: skip
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(AnomalyTask, "model")
    task = parser.instantiate_classes(parser.parse_object({"model": model})).model
    torch.manual_seed(seed)
    task.attach(("face",))
    return task


@pytest.fixture(scope="module")
def task(weights):
    """With a border that looks learned."""
    made = build(weights)
    with torch.no_grad():
        made.inputs.border += torch.randn_like(made.inputs.border)
    return made


@pytest.fixture(scope="module")
def batch():
    """Coarse pictures as large as what the border leaves, so that nothing is resized."""
    coarse = torch.randint(0, 256, (4, 3, 4, 4), generator=torch.Generator().manual_seed(4))
    images = coarse.byte().repeat_interleave(INNER // 4, 2).repeat_interleave(INNER // 4, 3)
    made = fake_batch(("face",) * 4, LABELS, image_size=(INNER, INNER))
    return replace(made, images=images)


def image_logits(task, batch):
    features = task.encode(batch)
    return task.compare(features, task.prototypes(batch, features), batch).image_logits


def loss_of(task, batch):
    return functional.cross_entropy(image_logits(task, batch), batch.labels)


def scores_of(task, batch):
    task._is_trained = True
    with torch.no_grad():
        return task(batch).scores


def train(task, batch, steps):
    """Steps with the recipe's own optimiser; the losses on the way."""
    optimizer, losses = task.optimizer([p for p in task.parameters() if p.requires_grad]), []
    schedule = task.scheduler(optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss_of(task, batch)
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return losses


# Against the reference


class Reference:
    """What the slow reference makes of the same weights, border, faces and images."""

    def __init__(self, weights, task, batch) -> None:
        state = {name: value.double() for name, value in torch.load(weights).items()}
        self.delta = task.inputs.delta.detach().double().requires_grad_()
        faces = FakeFaceEncoder(gain=3.0)(batch.images).double()
        projection = task.prompts.projection.double()
        self.rows = [
            slow.logits(image, face, self.delta, PADDING, state, projection, HEADS)
            for image, face in zip(batch.images, faces, strict=True)
        ]


@pytest.fixture(scope="module")
def reference(weights, task, batch):
    return Reference(weights, task, batch)


def test_logits_and_scores_equal_the_reference(task, batch, reference):
    expected = torch.stack(reference.rows).detach()
    assert np.ptp((expected[:, 1] - expected[:, 0]).numpy()) > 0.1, "all alike would show nothing"
    found = image_logits(task, batch).detach()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * expected.abs().max())
    scores = expected.softmax(1)[:, 1]
    np.testing.assert_allclose(scores_of(task, batch), scores, rtol=0, atol=1e-4)


def test_loss_and_gradient_equal_the_reference(task, batch, reference):
    expected = slow.cross_entropy(reference.rows, LABELS)
    found = loss_of(task, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    (wanted,) = torch.autograd.grad(expected, reference.delta, retain_graph=True)
    (ours,) = torch.autograd.grad(found, task.inputs.border)
    places = slow.border_mask(SIDE, PADDING)[0].flatten().bool()
    wanted = wanted.flatten(1)
    assert not wanted[:, ~places].any()
    largest = wanted.abs().max().item()
    assert largest > 1e-4
    np.testing.assert_allclose(ours, wanted[:, places], rtol=0, atol=1e-4 * largest)


# The published checks


def test_the_published_border_has_77520_numbers_and_nothing_else_learns(task):
    arguments = yaml.safe_load(RECIPE.read_text())["model"]["inputs"]["init_args"]
    tower = FakeTower(image_size=(224, 224))
    tower.window_sides = ()
    border = LearnableBorder(**arguments)
    border.attach(tower)
    assert sum(p.numel() for p in border.parameters()) == 77_520
    assert [n for n, p in task.named_parameters() if p.requires_grad] == ["inputs.border"]


def test_training_moves_the_whole_border_and_nothing_else(weights, batch):
    task = build(weights)
    frozen = {
        name: value.clone() for name, value in task.state_dict().items() if name != "inputs.border"
    }
    clip = {name: value.clone() for name, value in task.tower.named_parameters()}
    losses = train(task, batch, steps=3)
    assert losses[-1] < losses[0]
    delta = task.inputs.delta.detach()
    inside = slice(PADDING, SIDE - PADDING)
    assert not delta[:, inside, inside].any()
    assert task.inputs.border.detach().abs().min() > 0
    assert all(torch.equal(frozen[name], task.state_dict()[name]) for name in frozen)
    assert all(torch.equal(clip[name], value) for name, value in task.tower.named_parameters())
    assert any(name.startswith("tower.") for name in frozen)
    assert all(p.grad is None for p in task.tower.parameters())


def test_the_first_step_moves_every_pixel_by_about_the_rate(weights, batch):
    task = build(weights)
    train(task, batch, steps=1)
    moved = task.inputs.border.detach().abs()
    assert moved.max().item() == pytest.approx(1.0, abs=1e-3)
    assert moved.median().item() == pytest.approx(1.0, abs=1e-2)


def test_the_fake_prompt_follows_the_face_and_the_real_one_does_not(task, batch):
    others = replace(batch, images=batch.images.flip(0))
    first, second = (
        task.prototypes(each, task.encode(each)).embeddings for each in (batch, others)
    )
    assert torch.equal(first[:, 0], second[:, 0])
    torch.testing.assert_close(first[:, 1], second[:, 1].flip(0))
    for one, another in itertools.combinations(first[:, 1], 2):
        assert one @ another < 0.9999


def stored(task):
    checkpoint = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    return copy.deepcopy(checkpoint)


def load(task, checkpoint):
    task.on_load_checkpoint(checkpoint)
    task.load_state_dict(checkpoint["state_dict"], strict=task.strict_loading)


def test_a_checkpoint_reproduces_the_scores(weights, task, batch):
    checkpoint = stored(task)
    assert set(checkpoint["state_dict"]) == {
        "inputs.border", "prompts.projection", "prompts.encoder.fingerprint"
    }  # fmt: skip
    fresh = build(weights, seed=1)
    assert not torch.allclose(scores_of(fresh, batch), scores_of(task, batch), atol=1e-3)
    load(fresh, checkpoint)
    assert torch.equal(scores_of(fresh, batch), scores_of(task, batch))


def test_a_checkpoint_without_the_map_is_refused(weights, task):
    checkpoint = stored(task)
    del checkpoint["state_dict"]["prompts.projection"]
    with pytest.raises(ValueError, match=r"got no prompts\.projection in the checkpoint"):
        load(build(weights), checkpoint)


def test_a_checkpoint_with_another_face_encoder_is_refused(weights, task):
    other = build(weights)
    other.prompts.encoder.fingerprint[0] ^= 1
    with pytest.raises(ValueError, match="expected the face encoder that the checkpoint was"):
        load(other, stored(task))


@pytest.mark.parametrize("side", [INNER, 50])
def test_an_empty_border_and_plain_sentences_are_zero_shot_clip(weights, batch, side):
    """Of the padded image, asked of open_clip itself; larger images are resized straight to it."""
    task = build(weights, fake="T1")
    images = functional.interpolate(batch.images.float(), side).byte()
    scores = scores_of(task, replace(batch, images=images))
    inner = task.tower.prepare(images, (INNER, INNER))
    padded = torch.zeros(4, 3, SIDE, SIDE)
    padded[:, :, PADDING:-PADDING, PADDING:-PADDING] = inner
    clip, tokenizer = task.tower.model, slow.SimpleTokenizer()
    with torch.no_grad():
        seen = clip.encode_image(padded, normalize=True)
        words = clip.encode_text(
            tokenizer(["A real photo of a person", "A fake photo of a person"]), normalize=True
        )
        expected = (clip.logit_scale.exp() * seen @ words.T).softmax(1)[:, 1]
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
