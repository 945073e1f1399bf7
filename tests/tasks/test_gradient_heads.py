"""Heads that differentiate, from pixels to maps, inside Lightning's inference mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeTower
from tiny_runs import (
    fitted,
    make_data,
    make_trainer,
    maps_of,
    scores_of,
    text_recipe,
    write_images,
)

from clad.heads.fused import Fused
from clad.heads.grad_cam import GradCam
from clad.heads.image_text import ImageText
from clad.heads.normal_memory import NormalMemory
from clad.prompts.single_pair import SinglePair
from clad.tasks.anomaly_task import AnomalyTask
from clad.towers.open_clip import OpenClipTower

TINY_VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def zero_shot(head, tower=None) -> AnomalyTask:
    return AnomalyTask(tower or FakeTower(), head, SinglePair())


def by_hand(task: AnomalyTask, batch) -> torch.Tensor:
    """The map without the task: plain autograd through tower and words."""
    tower = task.tower
    pixels = tower.prepare(batch.images).requires_grad_()
    features = tower.encode_pixels(pixels)
    layer, grid = features.tokens[-1], features.grids[-1]
    words = task.prompts(task.class_names, tower).for_images(batch.categories)
    cosines = torch.einsum("bd,bkd->bk", features.pooled, words) * tower.logit_scale
    (slopes,) = torch.autograd.grad((cosines[:, 1] - cosines[:, 0]).sum(), layer)
    return torch.einsum("bpc,bc->bp", layer, slopes.mean(1)).relu().unflatten(1, grid).detach()


def test_a_frozen_tower_gives_maps_in_inference_mode(root):
    task = zero_shot(GradCam(rectified=True, sigma_px=0))
    maps = maps_of(root, task, inference_mode=True)
    assert (maps > 0).any()
    batch = next(iter(make_data_loader(root)))
    expected = by_hand(task, batch)
    enlarged = torch.nn.functional.interpolate(expected[:, None], (32, 32), mode="bilinear")[:, 0]
    np.testing.assert_allclose(maps[: len(batch)], enlarged, atol=1e-5)
    scores, plain = scores_of(root, task), scores_of(root, zero_shot(ImageText()))
    np.testing.assert_allclose(scores, plain, rtol=1e-5)


def make_data_loader(root):
    data = make_data(root)
    data.setup("test")
    return data.test_dataloader()


def test_prediction_too(root):
    task = zero_shot(GradCam())
    found = make_trainer(inference_mode=True).predict(task, datamodule=make_data(root))
    assert not any(each.maps.requires_grad or each.scores.requires_grad for each in found)
    assert torch.cat([each.maps for each in found]).any()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_adapter_and_a_fusion_with_heads_of_other_kinds(root, precision):
    head = Fused([GradCam(), GradCam(0, output="gaussian"), NormalMemory(size=60)])
    task = text_recipe(head=head)
    fitted(root, task, max_epochs=2, precision=precision)
    make_trainer(inference_mode=True, precision=precision).test(
        task, datamodule=make_data(root), verbose=False
    )
    assert set(task.collected.parts) == {"grad_cam_1", "grad_cam_2", "normal_memory"}
    assert len(task.collected.keepsakes) == len(task.collected), "finite maps of every image"
    assert not any(value.requires_grad for value in head.buffers())
    assert (head.num_seen == 8).all(), "scales are fitted on maps that have a gradient, too"


def test_nothing_is_left_behind_on_weights(root):
    task = text_recipe(head=GradCam())
    fitted(root, task, max_epochs=1)
    task.zero_grad()
    scores_of(root, task)
    assert all(weight.grad is None for weight in task.parameters())


class TestVisionTransformer:
    def tower(self) -> OpenClipTower:
        tower = OpenClipTower(TINY_VIT, "random", layers=(2, 4))
        tower.is_aligned = True  # random, but of one space
        return tower

    def test_an_earlier_layer_has_a_map(self, root):
        task = zero_shot(GradCam(layer=0), self.tower())
        assert (maps_of(root, task, inference_mode=True) > 0).any()

    def test_the_last_block_is_refused_with_the_reason(self, root):
        task = zero_shot(GradCam(layer=-1), self.tower())
        with pytest.raises(ValueError, match=r"layer -1 on the way .* earlier layer \(on a ViT"):
            make_trainer(inference_mode=True).test(task, datamodule=make_data(root), verbose=False)
