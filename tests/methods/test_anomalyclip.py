"""The recipe configs/recipes/anomalyclip.yaml, around a tiny CLIP, against a slow reference."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slow_anomalyclip as slow
import torch
import yaml
from fakes import fake_batch
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor

from clad.tasks.anomaly_task import AnomalyTask
from clad.towers.open_clip import OpenClipTower
from clad.types import Batch, LossInputs, Prediction

RECIPE = Path(__file__).parents[2] / "configs" / "recipes" / "anomalyclip.yaml"
TOLERANCE = 1e-5
HEADS = 4
TINY = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 10},
}
SIZE = (48, 48)
NAMES = ("metal_nut", "pcb1", "pcb1", "metal_nut")
LABELS = [0, 1, 1, 0]
VV_FROM = 2
LAYERS = [1, 3, 4]
"""One before the value path begins, two on it."""


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


@pytest.fixture(scope="module")
def task(weights) -> AnomalyTask:
    """The recipe with a tiny tower in place of its own, and trained-looking tokens."""
    model = yaml.safe_load(RECIPE.read_text())["model"]
    model["tower"]["init_args"] |= {
        "model_name": TINY,
        "pretrained": str(weights),
        "image_size": SIZE[0],
        "layers": LAYERS,
        "vv_from_layer": VV_FROM,
    }
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(AnomalyTask, "model")
    task = parser.instantiate_classes(parser.parse_object({"model": model})).model
    torch.manual_seed(0)
    task.attach(("metal_nut", "pcb1"))
    with torch.no_grad():
        for parameter in task.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    return task


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Coarse random images, which differ more from each other than noise does."""
    made = fake_batch(NAMES, LABELS, image_size=SIZE)
    generator = torch.Generator().manual_seed(4)
    coarse = torch.randint(0, 256, (4, 3, 4, 4), generator=generator).byte()
    images = coarse.repeat_interleave(12, 2).repeat_interleave(12, 3)
    masks = made.masks.clone()
    masks[2] = False
    masks[2, 30:, 5:22] = True
    return replace(made, images=images, masks=masks)


def look(task, batch) -> tuple[LossInputs, Prediction]:
    features = task.encode(batch)
    prototypes = task.prototypes(batch, features)
    alignment = task.compare(features, prototypes, batch)
    prediction = task.head(features, alignment, batch.categories, SIZE)
    return LossInputs(batch, features, prototypes, alignment), prediction


def total_loss(task, batch):
    inputs, _ = look(task, batch)
    return sum(loss.weight * loss(inputs) for loss in task.losses)


class Reference:
    """What the slow reference makes of the same weights, tokens and images."""

    def __init__(self, weights: Path, task: AnomalyTask, batch: Batch) -> None:
        state = {name: value.double() for name, value in torch.load(weights).items()}
        self.context = task.prompts.context.detach().double().requires_grad_()
        self.deep = task.prompts.deep.tokens.detach().double().requires_grad_()
        self.seen = [slow.look(image, state, HEADS, LAYERS, VV_FROM) for image in batch.images]
        self.texts = slow.speak(state, HEADS, self.context, self.deep)

    def scores(self) -> np.ndarray:
        return np.array([slow.score(vector, self.texts) for vector, _, _ in self.seen])

    def maps(self, layer: slice = slice(None)) -> np.ndarray:
        return np.stack(
            [slow.anomaly_map(patches[layer], self.texts, g, SIZE) for _, patches, g in self.seen]
        )

    def loss(self, batch: Batch, smooth: float = 0.0) -> Tensor:
        return slow.loss(self.seen, self.texts, LABELS, batch.masks, smooth)


@pytest.fixture(scope="module")
def reference(weights, task, batch) -> Reference:
    return Reference(weights, task, batch)


def test_scores_equal_the_reference(task, batch, reference) -> None:
    _, found = look(task, batch)
    expected = reference.scores()
    assert np.ptp(expected) > 0.05, "scores that hardly differ would show nothing"
    np.testing.assert_allclose(found.scores.detach(), expected, rtol=0, atol=TOLERANCE)


def test_maps_equal_the_reference(task, batch, reference) -> None:
    """Averaged over layers here, summed there."""
    _, found = look(task, batch)
    expected = reference.maps() / len(LAYERS)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(found.maps.detach(), expected, rtol=0, atol=TOLERANCE)


def test_maps_of_the_layers_differ(task, batch, reference) -> None:
    inputs, _ = look(task, batch)
    maps = []
    for layer, logits in enumerate(inputs.alignment.patch_logits):
        one = replace(inputs.alignment, patch_logits=(logits,), grids=inputs.alignment.grids[:1])
        found = task.head(inputs.features, one, NAMES, SIZE).maps.detach()
        expected = reference.maps(slice(layer, layer + 1))
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
        maps.append(found)
    for first, second in itertools.combinations(maps, 2):
        assert (first - second).abs().max() > 0.01


def test_loss_equals_the_reference(task, batch, reference) -> None:
    expected = reference.loss(batch).item()
    assert total_loss(task, batch).item() == pytest.approx(expected, abs=TOLERANCE * expected)


def test_gradients_of_all_that_learns_equal_the_reference(task, batch, reference) -> None:
    learns = {name: p for name, p in task.named_parameters() if p.requires_grad}
    assert set(learns) == {"prompts.context", "prompts.deep.tokens"}
    ours = torch.autograd.grad(total_loss(task, batch), list(learns.values()))
    expected = torch.autograd.grad(
        reference.loss(batch), [reference.context, reference.deep], retain_graph=True
    )
    for found, wanted in zip(ours, expected, strict=True):
        assert wanted.abs().amax((1, 2)).min() > 0.01, "the tokens of each layer are felt"
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)


def test_the_smoothing_of_the_published_focal_loss_hardly_counts(batch, reference) -> None:
    plain, published = reference.loss(batch).item(), reference.loss(batch, 1e-5).item()
    assert 0 < abs(published - plain) < 1e-4 * plain


def test_training_lowers_the_loss_and_moves_every_token(task, batch) -> None:
    task = copy.deepcopy(task)
    learns = [p for p in task.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in learns]
    optimizer = task.optimizer(learns)
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.defaults["lr"], tuple(optimizer.defaults["betas"])) == (0.001, (0.5, 0.999))
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        value = total_loss(task, batch)
        value.backward()
        assert all(p.grad.abs().flatten(1).amax(1).min() > 0 for p in learns)
        optimizer.step()
        losses.append(value.item())
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    for parameter, old in zip(learns, before, strict=True):
        assert (parameter.detach() - old).abs().amax(-1).min() > 0
    assert all(p.grad is None for p in task.tower.parameters())


def test_the_recipe_keeps_the_published_settings() -> None:
    content = yaml.safe_load(RECIPE.read_text())
    tower = content["model"]["tower"]["init_args"]
    assert (tower["model_name"], tower["pretrained"]) == ("ViT-L-14-336-quickgelu", "openai")
    assert (tower["image_size"], tower["vv_from_layer"]) == (518, 24 - 19 + 1)
    assert content["seed_everything"] == 111
    assert content["trainer"]["max_epochs"] == 15
    assert content["data"]["train_batch_size"] == 8
