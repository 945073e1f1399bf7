"""APRIL-GAN's recipes on small random weights against the method written out step by step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from fakes import fake_batch
from lightning.pytorch.cli import LightningArgumentParser
from tiny_clip import tiny
from torch import Tensor
from torch.nn import functional

from clad.prompts.words import class_words
from clad.tasks.anomaly_task import AnomalyTask
from clad.types import Batch, LossInputs

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"
LAYERS = (1, 2, 3, 4)
SIZE = (40, 40)
CATEGORIES = ("bottle", "metal_nut")
NORMAL = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ANOMALOUS = ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage")


def task_of(recipe: str) -> AnomalyTask:
    """The shipped recipe around a tower of small random weights."""
    model = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())["model"]
    model["tower"]["init_args"] = {
        "model_name": tiny(),
        "pretrained": "random",
        "layers": list(LAYERS),
        "image_size": list(SIZE),
    }
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(AnomalyTask, "model")
    torch.manual_seed(3)
    task = parser.instantiate_classes(parser.parse_object({"model": model})).model
    task.tower.is_aligned = True  # random weights otherwise refuse words
    task.attach(CATEGORIES)
    return task.eval()


def batch_of(seed: int = 1) -> Batch:
    return fake_batch(["bottle", "metal_nut", "metal_nut"], [0, 1, 1], image_size=SIZE, seed=seed)


class Slow:
    """Tokens from open_clip's own blocks, text from its own encoder, one prompt at a time."""

    def __init__(self, task: AnomalyTask) -> None:
        self.task, self.model = task, task.tower.model

    def tokens(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Raw patch tokens after each layer, and the unit image embedding."""
        kept: list[Tensor] = []
        blocks = self.model.visual.transformer.resblocks
        hooks = [
            blocks[layer - 1].register_forward_hook(lambda m, a, out: kept.append(out))
            for layer in LAYERS
        ]
        pooled = self.model.encode_image(self.task.tower.prepare(images))
        for hook in hooks:
            hook.remove()
        return [each[:, 1:] for each in kept], pooled / pooled.norm(dim=-1, keepdim=True)

    def words(self, category: str) -> Tensor:
        """(2, D): each sentence of unit length, their mean, and that of unit length."""
        name = class_words(category).class_name
        rows = []
        for states in (NORMAL, ANOMALOUS):
            total = torch.zeros(self.task.tower.embed_dim)
            for template in self.task.prompts.ensemble.templates:
                for state in states:
                    ids = self.task.tower._tokenizer(
                        [template.replace("{}", state.replace("{}", name))]
                    )
                    text = self.model.encode_text(ids)[0]
                    total += text / text.norm()
            rows.append(total / total.norm())
        return torch.stack(rows)

    def layer_maps(self, batch: Batch) -> list[Tensor]:
        """(B, 2, H, W) logits of each layer at image size."""
        tokens, _ = self.tokens(batch.images)
        words = {name: self.words(name) for name in CATEGORIES}
        found = []
        for layer, each in zip(self.task.adapter.layers, tokens, strict=True):
            projected = each @ layer.weight.T + layer.bias
            patches = projected / projected.norm(dim=-1, keepdim=True)
            logits = torch.stack(
                [100 * p @ words[name].T for p, name in zip(patches, batch.categories, strict=True)]
            )
            side = int(logits.shape[1] ** 0.5)
            maps = logits.transpose(1, 2).reshape(len(batch), 2, side, side)
            found.append(functional.interpolate(maps, SIZE, mode="bilinear", align_corners=False))
        return found

    def loss(self, batch: Batch) -> Tensor:
        """Focal and dice of each layer, pixel by pixel."""
        total = torch.zeros(())
        truth = batch.masks.float()
        for logits in self.layer_maps(batch):
            p = logits.softmax(1)
            log_p = logits.log_softmax(1)
            true = torch.where(batch.masks, log_p[:, 1], log_p[:, 0])
            total = total - ((1 - true.exp()) ** 2 * true).mean()
            for image, mask in zip(p[:, 1], truth, strict=True):
                both = (image * mask).sum()
                total = total + (1 - (2 * both + 1) / (image.sum() + mask.sum() + 1)) / len(batch)
        return total


@torch.no_grad()
def test_zero_shot_scores_and_maps_equal_the_method_step_by_step():
    task, batch = task_of("april_gan"), batch_of()
    task._is_trained = True
    slow, found = Slow(task), task(batch)
    maps = torch.stack([layer.softmax(1)[:, 1] for layer in slow.layer_maps(batch)]).mean(0)
    assert (found.maps - maps).abs().max() < 1e-5
    assert maps.std() > 1e-2, "a flat map would agree with any other"
    _, pooled = slow.tokens(batch.images)
    for row, name in enumerate(batch.categories):
        expected = (100 * pooled[row] @ slow.words(name).T).softmax(0)[1]
        assert found.scores[row].item() == pytest.approx(expected.item(), abs=1e-5)


def test_loss_and_gradients_equal_the_method_step_by_step():
    task, batch = task_of("april_gan"), batch_of()
    features = task.encode(batch)
    prototypes = task.prototypes(batch, features)
    inputs = LossInputs(batch, features, prototypes, task.compare(features, prototypes, batch))
    loss = sum(term.weight * term(inputs) for term in task.losses)
    learning = [p for p in task.parameters() if p.requires_grad]
    assert len(learning) == 2 * len(LAYERS)
    found = torch.autograd.grad(loss, learning)
    slow = Slow(task).loss(batch)
    assert loss.item() == pytest.approx(slow.item(), abs=1e-5)
    for one, other in zip(found, torch.autograd.grad(slow, learning), strict=True):
        assert (one - other).abs().max() < 1e-4 * other.abs().max()


@torch.no_grad()
def test_few_shot_scores_and_maps_equal_the_method_step_by_step():
    task, batch = task_of("april_gan_few_shot"), batch_of()
    normal = fake_batch(list(CATEGORIES) * 2, [0] * 4, image_size=SIZE, seed=5)
    task.observe(lambda: [normal], None)
    task._is_trained = True
    slow, found = Slow(task), task(batch)
    text = torch.stack([layer.softmax(1)[:, 1] for layer in slow.layer_maps(batch)])
    known, (queries, pooled) = slow.tokens(normal.images)[0], slow.tokens(batch.images)
    for row, name in enumerate(batch.categories):
        rows = [n for n, category in enumerate(normal.categories) if category == name]
        total = torch.zeros(SIZE)
        for layer, remembered in enumerate(known):
            bank = functional.normalize(remembered[rows].flatten(0, 1), dim=-1)
            bank = functional.normalize(bank.half().float(), dim=-1)  # as it is kept
            cosines = functional.normalize(queries[layer][row], dim=-1) @ bank.T
            side = int(len(cosines) ** 0.5)
            distance = (1 - cosines.max(1).values).view(1, 1, side, side)
            total += functional.interpolate(distance, SIZE, mode="bilinear")[0, 0]
        expected = (text[:, row].sum(0) + total) / len(LAYERS)
        assert (found.maps[row] - expected).abs().max() < 1e-5
        words = (100 * pooled[row] @ slow.words(name).T).softmax(0)[1]
        score = (words + expected.max()) / 2
        assert found.scores[row].item() == pytest.approx(score.item(), abs=1e-5)


@torch.no_grad()
def test_layers_give_maps_of_their_own():
    maps = Slow(task_of("april_gan")).layer_maps(batch_of())
    for n, one in enumerate(maps):
        for other in maps[:n]:
            assert (one.softmax(1) - other.softmax(1))[:, 1].abs().max() > 0.05
    task = task_of("april_gan")
    logits = task.compare(*_looked(task, batch_of()))
    assert logits is not None
    for n, one in enumerate(logits.patch_logits):
        assert all((one - other).abs().max() > 0.5 for other in logits.patch_logits[:n])


def _looked(task: AnomalyTask, batch: Batch):
    features = task.encode(batch)
    return features, task.prototypes(batch, features), batch


@torch.no_grad()
def test_prompts_are_as_many_as_published():
    normal, anomalous = task_of("april_gan").prompts.ensemble.prompts("bottle")
    assert (len(normal), len(anomalous)) == (7 * 35, 5 * 35)


def test_few_shot_without_trained_maps_is_refused(tmp_path):
    task = task_of("april_gan_few_shot")
    with pytest.raises(ValueError, match=r"random ones for adapter.*--model\.initial_weights"):
        task.on_fit_start()
