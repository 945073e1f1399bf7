"""A head with logits of its own learns in a task without words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeTower
from tiny_runs import fitted, make_data, make_trainer, scores_of, write_images

from clad.heads.linear import Linear
from clad.losses.image_cross_entropy import ImageCrossEntropy
from clad.losses.patch_dice import PatchDice
from clad.losses.patch_focal import PatchFocal
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.feature_cache import FeatureCache

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def probe(aligned: bool, **settings) -> AnomalyTask:
    return AnomalyTask(
        FakeTower(aligned=aligned),
        Linear(sees="statistics", patches=True, score="mean"),
        losses=[ImageCrossEntropy(), PatchFocal(), PatchDice()],
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
        **settings,
    )


@pytest.mark.parametrize("aligned", [True, False])
def test_it_learns_without_words_and_comes_back_from_a_checkpoint(root, tmp_path, aligned):
    task = probe(aligned)
    trainer = fitted(root, task)
    weight = task.head.image.linear.weight.detach()
    assert weight.any()
    assert all(layer.linear.weight.any() for layer in task.head.maps)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    scores = scores_of(root, task)
    assert len(set(scores.tolist())) > 1
    np.testing.assert_array_equal(scores_of(root, probe(aligned), path), scores)


def test_a_feature_cache_changes_nothing(root, tmp_path):
    weights = []
    for cache in (None, FeatureCache(tmp_path / "cache")):
        task = probe(True, feature_cache=cache)
        torch.manual_seed(1)
        data = make_data(root, synthesis=None, synthesis_probability=0.0)
        make_trainer().fit(task, datamodule=data)
        weights.append(task.head.image.linear.weight.detach())
    assert weights[0].any()
    assert torch.equal(*weights)
