"""What a second stage takes over from a first one, and tests on categories no training saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeTower
from tiny_runs import CATEGORIES, fitted, scores_of, text_recipe, write_images
from torch import nn

from clad.heads.patch_text import PatchText
from clad.losses.image_cross_entropy import ImageCrossEntropy
from clad.tasks.anomaly_task import AnomalyTask
from clad.towers.base import Block, EncoderParts
from clad.tuning.base import Tuning
from clad.tuning.frozen import Frozen
from clad.tuning.full import Full
from clad.tuning.last_n import LastN

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def first(root, tmp_path_factory):
    """A first stage that trained the adapter, and its checkpoint."""
    path = tmp_path_factory.mktemp("first") / "last.ckpt"
    task = text_recipe()
    fitted(root, task, max_epochs=1).save_checkpoint(path)
    return task, path


def words_only(**settings) -> AnomalyTask:
    """A recipe whose head keeps nothing of the images: it can look at any category."""
    return text_recipe(head=PatchText(), **settings)


def test_a_second_stage_starts_from_the_trained_parts_of_the_first(root, first, caplog):
    task, path = first
    second = words_only(
        initial_weights=path, optimizer=lambda weights: torch.optim.SGD(weights, lr=0.0)
    )
    with caplog.at_level("INFO"):
        fitted(root, second, max_epochs=1, seed=9)
    for name, value in task.adapter.named_parameters():
        assert torch.equal(value, second.adapter.get_parameter(name)), name
    assert "Took over" in caplog.text
    assert "adapter.token_hidden.weight" in caplog.text
    assert "head." not in caplog.text.split("Took over")[1]


def test_a_continued_training_and_a_test_do_not_ask_for_the_first_stage(root, first, tmp_path):
    _, path = first
    own = tmp_path / "own.ckpt"
    gone = tmp_path / "gone.ckpt"
    gone.write_bytes(path.read_bytes())
    task = words_only(initial_weights=gone)
    fitted(root, task, max_epochs=1).save_checkpoint(own)
    gone.unlink()
    scores = scores_of(root, task)
    again = words_only(initial_weights=gone)
    np.testing.assert_allclose(scores_of(root, again, own), scores, rtol=0, atol=1e-6)
    fitted(root, words_only(initial_weights=gone), max_epochs=2, ckpt_path=own)


def other_adapter(path, tmp_path, change):
    stored = torch.load(path, weights_only=True)
    change(stored)
    torch.save(stored, tmp_path / "other.ckpt")
    return tmp_path / "other.ckpt"


def keep_only_the_head(stored):
    state = stored["state_dict"]
    stored["state_dict"] = {n: v for n, v in state.items() if n.startswith("head.")}


def rename(stored):
    stored["state_dict"] = {f"x.{n}": v for n, v in stored["state_dict"].items()}


def widen(stored):
    stored["state_dict"]["adapter.token_hidden.weight"] = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (keep_only_the_head, "got none, only e.g. no weights; give the stage that trained the"),
        (rename, r"got none, only e\.g\. x\."),
        (widen, r"got adapter.token_hidden.weight of shape \(3, 3\) instead of \(16, 20\); give"),
        (lambda stored: stored.pop("clad"), "expected a checkpoint written by `clad fit` at"),
    ],
    ids=["head only", "other names", "other shape", "not ours"],
)
def test_a_stage_that_does_not_fit_is_refused(root, first, tmp_path, change, message):
    path = other_adapter(first[1], tmp_path, change)
    with pytest.raises(ValueError, match=message):
        fitted(root, words_only(initial_weights=path), max_epochs=1)


def test_a_stage_that_is_not_there_is_refused(root, tmp_path):
    task = words_only(initial_weights=tmp_path / "none.ckpt")
    with pytest.raises(FileNotFoundError, match="expected the checkpoint of an earlier stage at"):
        fitted(root, task, max_epochs=1)


def test_a_head_without_categories_scores_others_than_those_of_training(root, tmp_path):
    path = tmp_path / "nut.ckpt"
    task = words_only()
    fitted(root, task, max_epochs=1).save_checkpoint(path)
    expected = scores_of(root, task)

    def only_nuts(stored):
        own = stored["clad"]
        own["class_names"] = ["metal_nut"]
        own["thresholds"] = {"metal_nut": own["thresholds"]["metal_nut"]}

    elsewhere = other_adapter(path, tmp_path, only_nuts)
    fresh = words_only()
    np.testing.assert_allclose(scores_of(root, fresh, elsewhere), expected, rtol=0, atol=1e-6)
    assert fresh.class_names == CATEGORIES
    assert fresh.thresholds is None
    assert fresh.threshold_source == "none: not trained on tile"
    assert set(fresh.evaluation.per_category) == set(CATEGORIES)


class Added(Tuning):
    """Puts a scale behind the first block; learning or not, no tower knows it."""

    def __init__(self, learns: bool) -> None:
        self.learns = learns

    def apply(self, tower) -> None:
        tower.freeze()
        block = tower.image_parts().blocks[0].module
        block.added = nn.Linear(1, 1, bias=False).requires_grad_(self.learns)
        block.register_forward_hook(lambda module, args, output: output * module.added.weight)

    def is_own(self, name: str) -> bool:
        return ".added." in name


def test_what_tuning_added_is_kept_where_it_does_not_learn(root, tmp_path):
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    early = words_only(tuning=Added(learns=True))
    fitted(root, early, max_epochs=1, seed=3).save_checkpoint(first)
    task = words_only(tuning=Added(learns=False), initial_weights=first)
    fitted(root, task, max_epochs=1, seed=4).save_checkpoint(second)
    added = "tower.convolutions.0.added.weight"
    trained = early.tower.convolutions[0].added.weight
    for path in (first, second):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert {name for name in state if name.startswith("tower.")} == {added}
        assert torch.equal(state[added], trained)
    fresh = words_only(tuning=Added(learns=False))
    np.testing.assert_allclose(scores_of(root, fresh, second), scores_of(root, task), atol=1e-6)


def test_random_weights_that_would_never_learn_are_refused(root, first):
    alone = words_only(tuning=Added(learns=False))
    message = r"stage that trained convolutions.0.added.weight, .* got none; give its checkpoint"
    with pytest.raises(ValueError, match=message):
        fitted(root, alone, max_epochs=1)
    # The first stage trained an adapter, but not these.
    with pytest.raises(ValueError, match=message):
        fitted(root, words_only(tuning=Added(learns=False), initial_weights=first[1]))


def test_statistics_of_what_rests_are_not_kept(root, tmp_path):
    tower = FakeTower(aligned=True)
    tower.convolutions[0] = nn.Sequential(tower.convolutions[0], nn.BatchNorm2d(8))
    tower.convolutions[1] = nn.Sequential(tower.convolutions[1], nn.BatchNorm2d(12))
    widths = zip(tower.convolutions, (8, 12), strict=True)
    blocks = (Block(block, width, 1) for block, width in widths)
    parts = EncoderParts(tuple(blocks), ())
    tower.image_parts = lambda: parts
    task = text_recipe(tower=tower, adapter=None, head=PatchText(), tuning=LastN(1, final=False))
    fitted(root, task, max_epochs=1).save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert {n for n in state if "running" in n} == {
        "tower.convolutions.1.1.running_mean",
        "tower.convolutions.1.1.running_var",
    }


def test_a_tower_that_stays_frozen_does_not_come_to_align():
    def recipe(tuning):
        return text_recipe(
            adapter=None, head=PatchText(), losses=[ImageCrossEntropy()], tuning=tuning
        )

    recipe(Full()).attach(CATEGORIES)
    with pytest.raises(ValueError, match="expected image and text in one space for"):
        recipe(Frozen()).attach(CATEGORIES)
