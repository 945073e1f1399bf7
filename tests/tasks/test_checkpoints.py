"""What a checkpoint holds, which recipes it fits, and what a resumed training gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeTower
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny_runs import (
    CATEGORIES,
    fitted,
    memory_recipe,
    scores_of,
    text_recipe,
    write_images,
)

from clad.adapters.token_projection import TokenProjection
from clad.heads.image_text import ImageText
from clad.heads.normal_memory import NormalMemory
from clad.heads.normal_statistics import NormalStatistics
from clad.heads.patch_text import PatchText
from clad.tasks.anomaly_task import AnomalyTask
from clad.tuning.full import Full

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A task, its scores, and its checkpoint."""
    path = tmp_path_factory.mktemp("runs") / "last.ckpt"
    task = text_recipe()
    fitted(root, task).save_checkpoint(path)
    return task, scores_of(root, task), path


def contents(path) -> dict:
    return torch.load(path, weights_only=True)


def altered(path, tmp_path, change):
    """A copy of the checkpoint after ``change(contents)``."""
    stored = contents(path)
    change(stored)
    torch.save(stored, tmp_path / "altered.ckpt")
    return tmp_path / "altered.ckpt"


def test_trained_parts_and_references_are_kept_and_the_frozen_tower_is_not(trained):
    names = set(contents(trained[2])["state_dict"])
    assert not any(name.startswith("tower.") for name in names)
    assert {"adapter.token_hidden.weight", "head.heads.2.bank_0", "head.score_spread"} <= names


def test_nothing_but_plain_values_is_kept_beside_the_weights(trained):
    task, _, path = trained
    own = contents(path)["clad"]  # weights_only: no code runs on loading
    assert own == {
        "class_names": list(CATEGORIES),
        "thresholds": task.thresholds,
        "threshold_source": task.threshold_source,
        "threshold_is_shared": False,
        "level_thresholds": {},
        "threshold_rule": "false_alarms",
        "false_alarm_budget": 0.05,
        "one_threshold": task.thresholds_fitted.one_threshold,
        "all_normals": [list(task.thresholds_fitted.all_normals.values), 16],
        "calibrations": {
            name: {
                "normal_scores": list(each.normals.values),
                "num_normal": 8,
                "probability_source": each.probability_source,
                "probability": None,
            }
            for name, each in task.thresholds_fitted.calibrations.items()
        },
    }


def test_a_fresh_task_scores_the_same_from_the_checkpoint(root, trained):
    task, scores, path = trained
    fresh = text_recipe()
    np.testing.assert_allclose(scores_of(root, fresh, path), scores, rtol=0, atol=1e-6)
    assert fresh.thresholds == task.thresholds
    assert fresh.threshold_source == task.threshold_source
    assert fresh.evaluation.mean == pytest.approx(task.evaluation.mean, nan_ok=True)


def test_a_checkpoint_can_be_read_again_into_a_task_that_ran(root, trained):
    _, scores, path = trained
    task = text_recipe()
    fitted(root, task, seed=5, max_epochs=1)
    np.testing.assert_allclose(scores_of(root, task, path), scores, rtol=0, atol=1e-6)


def test_some_of_the_trained_categories_score_as_among_all(root, trained):
    task, scores, path = trained
    fresh = text_recipe()
    found = scores_of(root, fresh, path, categories=["tile"])
    expected = scores[np.asarray(task.collected.categories) == "tile"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert set(fresh.evaluation.per_category) == {"tile"}


def test_a_memory_travels_in_its_own_size(root, tmp_path):
    task = memory_recipe()
    fitted(root, task, max_epochs=1).save_checkpoint(tmp_path / "memory.ckpt")
    scores = scores_of(root, task)
    fresh = memory_recipe()
    np.testing.assert_allclose(
        scores_of(root, fresh, tmp_path / "memory.ckpt"), scores, rtol=0, atol=1e-6
    )


def test_a_tower_that_learns_is_kept(root, tmp_path):
    def recipe():
        return text_recipe(tower=FakeTower(aligned=True), adapter=None, tuning=Full())

    path = tmp_path / "tuned.ckpt"
    task = recipe()
    fitted(root, task, max_epochs=1).save_checkpoint(path)
    assert "tower.convolutions.0.weight" in contents(path)["state_dict"]
    scores = scores_of(root, task)
    np.testing.assert_allclose(scores_of(root, recipe(), path), scores, rtol=0, atol=1e-6)


def test_a_checkpoint_brings_its_categories_to_a_task_without_data(trained):
    task = AnomalyTask.load_from_checkpoint(
        trained[2],
        tower=FakeTower(aligned=False),
        **{name: getattr(text_recipe(), name) for name in ("head", "prompts", "adapter")},
        losses=list(text_recipe().losses),
    )
    assert task.class_names == CATEGORIES
    assert torch.equal(
        task.adapter.token_hidden.weight, trained[0].adapter.token_hidden.weight.cpu()
    )


OTHER_RECIPES = {
    "another head": (
        lambda: text_recipe(head=PatchText()),
        "got an unknown head.heads.2.bank_0 in the checkpoint; use the configuration",
    ),
    "another list of heads": (
        lambda: text_recipe(head=type(text_recipe().head)([ImageText(), PatchText()])),
        "got an unknown head.heads.2.bank_0 and head.score_centre of shape",
    ),
    "another width": (
        lambda: text_recipe(adapter=TokenProjection(hidden_dim=32)),
        r"got adapter.token_hidden.weight of shape \(16, 20\) instead of \(32, 20\) in",
    ),
    "other statistics": (
        lambda: text_recipe(
            head=type(text_recipe().head)(
                [ImageText(), PatchText(), NormalMemory(), NormalStatistics(num_directions=3)]
            )
        ),
        r"got head.heads.3.directions of shape .* instead of \(2, 3, 40\)",
    ),
    "a tower that learns": (
        lambda: text_recipe(tuning=Full()),
        "got no tower.convolutions.0.bias in the checkpoint",
    ),
}


@pytest.mark.parametrize(("recipe", "message"), OTHER_RECIPES.values(), ids=OTHER_RECIPES)
def test_weights_of_another_recipe_are_refused(root, trained, recipe, message):
    with pytest.raises(ValueError, match=message):
        scores_of(root, recipe(), trained[2])


def test_a_checkpoint_from_elsewhere_is_refused(root, trained, tmp_path):
    path = altered(trained[2], tmp_path, lambda stored: stored.pop("clad"))
    with pytest.raises(ValueError, match="expected a checkpoint written by `clad fit`"):
        scores_of(root, text_recipe(), path)


def test_other_categories_are_refused(root, trained, tmp_path):
    path = altered(trained[2], tmp_path, lambda s: s["clad"].update(class_names=["tile", "wood"]))
    with pytest.raises(ValueError, match=r"trained on \(tile, wood\), got metal_nut as well"):
        scores_of(root, text_recipe(), path)


def weights_of(task) -> dict[str, torch.Tensor]:
    return {n: v.clone() for n, v in task.state_dict().items() if not n.startswith("tower.")}


def test_a_resumed_training_gives_the_weights_of_one_that_was_never_interrupted(root, tmp_path):
    straight = text_recipe()
    fitted(root, straight, max_epochs=4)

    class PowerCutError(Exception):
        pass

    class Cut(ModelCheckpoint):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                raise PowerCutError

    keeper = Cut(tmp_path, filename="last", enable_version_counter=False)
    with pytest.raises(PowerCutError):
        fitted(root, text_recipe(), max_epochs=4, callbacks=[keeper], enable_checkpointing=True)

    # The machine comes up again in another state.
    torch.manual_seed(99)
    resumed = text_recipe()
    fitted(root, resumed, max_epochs=4, ckpt_path=tmp_path / "last.ckpt")
    torch.testing.assert_close(weights_of(resumed), weights_of(straight), rtol=0, atol=0)
    assert resumed.thresholds == straight.thresholds
    assert np.array_equal(scores_of(root, resumed), scores_of(root, straight))
