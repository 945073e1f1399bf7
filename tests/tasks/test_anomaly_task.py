"""A whole life of small recipes: training, preparation of the head, test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeTower, fake_batch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from tiny_runs import (
    CATEGORIES,
    fitted,
    make_data,
    make_trainer,
    maps_of,
    memory_recipe,
    scores_of,
    text_recipe,
    write_images,
)

from clad.adapters.token_projection import TokenProjection
from clad.heads.image_text import ImageText
from clad.heads.normal_memory import NormalMemory
from clad.heads.patch_text import PatchText
from clad.losses.base import Loss
from clad.losses.image_cross_entropy import ImageCrossEntropy
from clad.prompts.single_pair import SinglePair
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.calibration import fit_thresholds
from clad.tuning.full import Full

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


class Losses(Callback):
    """Mean training loss of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append([])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.epochs[-1].append(float(outputs["loss"].detach()))


def test_training_lowers_the_loss_and_the_test_has_numbers_for_each_category(root):
    losses, task = Losses(), text_recipe()
    fitted(root, task, max_epochs=8, callbacks=[losses])
    assert np.mean(losses.epochs[-1]) < 0.8 * np.mean(losses.epochs[0])
    scores_of(root, task)
    assert set(task.evaluation.per_category) == set(CATEGORIES)
    assert task.evaluation.mean["image_auroc"] > 0.8
    assert task.evaluation.mean["pixel_auroc"] > 0.6
    assert set(task.collected.parts) == {
        "image_text",
        "patch_text",
        "normal_memory",
        "normal_statistics",
    }


def test_thresholds_come_from_validation_normals(root):
    task = text_recipe()
    fitted(root, task, max_epochs=1)
    assert set(task.thresholds) == set(CATEGORIES)
    assert task.threshold_source.startswith("8 normal validation images per category")
    scores_of(root, task)
    assert "image_false_alarm_rate" in task.evaluation.mean


def test_only_adapter_and_losses_learn(root):
    task = text_recipe()
    before = {name: value.clone() for name, value in task.tower.state_dict().items()}
    fitted(root, task, max_epochs=1)
    torch.testing.assert_close(task.tower.state_dict(), before, rtol=0, atol=0)
    names = {name for name, value in task.named_parameters() if value.requires_grad}
    assert names
    assert all(name.startswith("adapter.") for name in names)
    assert not task.tower.training


def test_a_recipe_without_losses_only_remembers(root):
    task = memory_recipe()
    fitted(root, task, max_epochs=1)
    assert len(task.head.bank_0) == len(task.head.bank_1) == 60
    scores_of(root, task)
    assert task.evaluation.mean["image_auroc"] > 0.9


def test_a_zero_shot_recipe_needs_no_training(root):
    task = AnomalyTask(FakeTower(), PatchText(), SinglePair())
    scores = scores_of(root, task)
    assert len(scores) == 12
    assert task.thresholds is None
    assert task.threshold_source.startswith("none: not fitted yet")


class Spy(NormalMemory):
    """Notes the images whose features it is shown before a test."""

    def __init__(self) -> None:
        super().__init__(size=20)
        self.seen: dict[str, list[torch.Tensor]] = {"reference": [], "validation": []}

    needs_validation = True

    def observe(self, features, categories):
        self.seen["reference"].append(features.summary)
        super().observe(features, categories)

    def observe_validation(self, features, alignment, categories, labels):
        self.seen["validation"].append(features.summary)


def summaries(task, loader) -> torch.Tensor:
    return torch.cat([task.encode(batch).summary for batch in loader])


def is_among(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return (torch.cdist(rows.double(), others.double()) < 1e-6).any(1)


def test_before_the_test_the_head_sees_each_training_and_validation_image_and_no_test_image(root):
    task = AnomalyTask(FakeTower(), Spy())
    data = fitted(root, task, max_epochs=1, limit_val_batches=1.0).datamodule
    reference = torch.cat(task.head.seen["reference"])
    validation = torch.cat(task.head.seen["validation"])
    assert len(reference) == 24
    assert len(validation) == 16
    torch.testing.assert_close(reference, summaries(task, data.reference_dataloader()))
    torch.testing.assert_close(validation, summaries(task, data.val_dataloader()))
    test = summaries(task, data.test_dataloader())
    assert not is_among(test, torch.cat([reference, validation])).any()
    scores_of(root, task)
    assert len(torch.cat(task.head.seen["reference"])) == 24, "nor does it learn in the test"


def test_validation_within_training_has_a_head_of_that_moment(root):
    task = text_recipe()
    trainer = fitted(root, task, max_epochs=2, limit_val_batches=1.0)
    assert "validation/image_auroc" in trainer.callback_metrics
    assert len(task.collected) == 16
    assert not any(value.is_inference() for value in task.head.buffers())
    # Preparing the head at that time changes nothing of the training.
    blind = text_recipe()
    fitted(root, blind, max_epochs=2)
    assert np.array_equal(scores_of(root, task), scores_of(root, blind))


def test_training_that_stops_early_prepares_the_head_too(root):
    stop = EarlyStopping("train/loss", stopping_threshold=1e9, check_on_train_epoch_end=True)
    task = text_recipe()
    trainer = fitted(root, task, max_epochs=5, callbacks=[stop])
    assert trainer.current_epoch < 5
    assert np.isfinite(scores_of(root, task)).all()


def test_the_same_seed_gives_the_same_scores_and_another_does_not(root):
    scores = []
    for seed in (1, 1, 2):
        task = text_recipe()
        fitted(root, task, seed)
        scores.append(scores_of(root, task))
    assert np.array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])


def test_half_precision_changes_scores_by_little(root):
    maps = []
    for precision in ("32-true", "bf16-mixed"):
        task = text_recipe(adapter=TokenProjection(hidden_dim=16))
        trainer = fitted(root, task, max_epochs=1, precision=precision)
        trainer.test(task, datamodule=make_data(root), verbose=False)
        maps.append(maps_of(root, task, precision=precision))
        assert np.isfinite(task.collected.scores).all()
        assert task.evaluation.mean["image_auroc"] > 0.6
    correlation = np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]
    assert correlation > 0.95
    assert len(np.unique(maps[1])) > 0.9 * maps[1].size, "maps are not rounded to 8 bits"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_thresholds_are_those_of_the_scores_that_a_validation_gives(root, precision):
    task = text_recipe()
    fitted(root, task, max_epochs=1, precision=precision)
    validator = make_trainer(precision=precision, limit_val_batches=1.0)
    validator.validate(task, datamodule=make_data(root), verbose=False)
    found = task.collected
    again = fit_thresholds(found.scores, found.labels, found.categories, task.false_alarm_budget)
    assert again.values == pytest.approx(task.thresholds, rel=1e-5)


def test_prediction_is_what_the_test_scores(root):
    task = memory_recipe()
    trainer = fitted(root, task, max_epochs=1)
    found = trainer.predict(task, datamodule=make_data(root))
    np.testing.assert_allclose(
        torch.cat([each.scores for each in found]), scores_of(root, task), rtol=1e-6
    )
    assert found[0].maps.shape[1:] == (32, 32)


REFUSED = {
    "text head without words": (
        {"prompts": None},
        r"expected model.prompts for image_cross_entropy, patch_focal, Fused, got none",
    ),
    "unaligned tower without adapter": (
        {"adapter": None, "losses": None},
        "expected image and text in one space for Fused, but the weights of FakeTower were never",
    ),
    "adapter that nothing trains": (
        {"losses": None},
        "no adapter learns to align them, so a text score would mean nothing",
    ),
    "losses that are switched off": (
        {"losses": [ImageCrossEntropy(weight=0.0)]},
        "no adapter learns to align them",
    ),
    "losses with nothing to teach": (
        {"adapter": None, "tower": FakeTower(aligned=True)},
        "expected a part that learns from image_cross_entropy, patch_focal, got frozen ones only",
    ),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_slots_that_do_not_fit_are_refused_before_training(settings, message):
    with pytest.raises(ValueError, match=message):
        text_recipe(**settings).attach(CATEGORIES)


class FeatureNorm(Loss):
    needs_alignment = False

    def forward(self, inputs):
        return inputs.features.pooled.norm()


def test_tuning_may_align_a_tower_and_losses_without_words_need_none():
    tuned = text_recipe(adapter=None, tuning=Full())
    tuned.attach(CATEGORIES)
    assert tuned.class_names == CATEGORIES
    wordless = AnomalyTask(
        FakeTower(aligned=False),
        NormalMemory(),
        adapter=TokenProjection(),
        losses=[FeatureNorm()],
    )
    wordless.attach(CATEGORIES)
    assert wordless.class_names == CATEGORIES


def test_attaching_twice_keeps_the_first(root):
    task = text_recipe()
    task.attach(CATEGORIES)
    weight = task.adapter.token_hidden.weight
    task.attach(CATEGORIES)
    assert task.adapter.token_hidden.weight is weight


def test_random_weights_score_nothing(root):
    task = text_recipe()
    with pytest.raises(ValueError, match="expected trained weights for this recipe, got random"):
        make_trainer().test(task, datamodule=make_data(root), verbose=False)
    with pytest.raises(ValueError, match="expected trained weights for this recipe, got random"):
        task(fake_batch(CATEGORIES * 2))


def test_encoding_keeps_a_graph_only_where_something_learns():
    batch = fake_batch()
    frozen = AnomalyTask(FakeTower(), ImageText(), SinglePair())
    frozen.attach(CATEGORIES)
    assert not frozen.encode(batch).pooled.requires_grad
    adapted = text_recipe()
    adapted.attach(CATEGORIES)
    found = adapted.encode(batch)
    assert found.pooled.requires_grad
    assert not found.summary.requires_grad
    tuned = text_recipe(tuning=Full())
    tuned.attach(CATEGORIES)
    assert tuned.encode(batch).summary.requires_grad


@pytest.mark.parametrize("budget", [0.0, 1.0])
def test_a_budget_that_is_no_share_is_refused(budget):
    with pytest.raises(ValueError, match="expected false_alarm_budget in"):
        memory_recipe(false_alarm_budget=budget)
