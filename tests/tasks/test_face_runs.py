"""Origins, groups and masks of faces from the folder to the metrics and thresholds of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from tiny_runs import make_trainer, memory_recipe

from clad.cli.configuration import read_configuration
from clad.data.datamodule import AnomalyDataModule
from clad.data.face_folders import FaceFolders
from clad.data.real_fake import RealFake
from clad.data.tiny import defective_texture, normal_texture, save
from clad.metrics.settings import MetricSettings
from clad.metrics.video import pool_videos

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIGS = Path(__file__).parents[2] / "configs"


def run(source, root, **settings):
    torch.manual_seed(0)
    task = memory_recipe(**settings)
    data = AnomalyDataModule(source, root, image_size=32, train_batch_size=8, num_workers=0)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    maps = torch.cat([each.maps for each in trainer.predict(task, datamodule=data)]).numpy()
    masks = torch.cat([batch.masks for batch in data.test_dataloader()]).numpy()
    return task, maps, masks


def test_videos_have_metrics_and_thresholds_of_their_own(tmp_path):
    source = FaceFolders(validation_fraction=0.5)
    source.write_tiny(tmp_path)
    settings = MetricSettings(video_score="max", shared_threshold=True)
    task, maps, masks = run(source, tmp_path, metrics=settings)
    found, result = task.collected, task.evaluation
    assert len(found.origins) == len(found.groups) == len(found)
    assert all(origin.video for origin in found.origins)
    videos = pool_videos(found.scores, found.labels, found.origins, found.paths, task.metrics)
    assert len(videos) == 6
    expected = sk.roc_auc_score(videos.labels, videos.scores)
    assert result.mean["video_auroc"] == pytest.approx(expected)
    assert set(result.per_manipulation["face"]) == {"swap", "reenact"}
    assert "of videos: none: fewer than 5 normal validation videos" in task.threshold_source
    # Only `swap` has masks.
    known = found.has_mask
    assert set(np.array(found.defect_types)[known]) == {"good", "swap"}
    expected = sk.roc_auc_score(masks[known].ravel(), maps[known].ravel())
    assert result.mean["pixel_auroc"] == pytest.approx(expected, abs=1e-9)


def test_masks_of_real_and_fake_folders_give_pixel_metrics_and_natural_a_specificity(tmp_path):
    rng = np.random.default_rng(0)
    for role, count in (("train", 20), ("test", 4)):
        for i in range(count):
            where = "natural" if i % 2 else "studio"
            save(normal_texture(rng, kind=2), tmp_path / role / "real" / where / f"{i:03d}.png")
        for i in range(4):
            image, mask = defective_texture(rng, kind=2)
            save(image, tmp_path / role / "fake" / "swap" / f"{i:03d}.png")
            save(mask, tmp_path / role / "mask" / "swap" / f"{i:03d}.png")
    task, maps, masks = run(RealFake(validation_fraction=0.4, train_on_fakes=False), tmp_path)
    found, mean = task.collected, task.evaluation.mean
    assert found.has_mask.all()
    expected = sk.roc_auc_score(masks.ravel(), maps.ravel())
    assert mean["pixel_auroc"] == pytest.approx(expected, abs=1e-9)
    natural = np.array(["natural" in path for path in found.paths])
    assert natural.sum() == 2
    below = found.scores[natural] < task.thresholds["face"]
    assert mean["natural_specificity"] == below.mean()


def test_settings_come_from_a_recipe():
    words = ["--config", str(CONFIGS / "recipes/clad_folder.yaml")]
    for name in ("labelled_threshold", "video_top_k"):
        words += ["--config", str(CONFIGS / f"metrics/{name}.yaml")]
    text = read_configuration("fit", [*words, "--data.root=.", "--model.metrics.top_k=3"])
    assert "threshold_rule: balanced_accuracy" in text
    assert "video_score: top_k\n" in text
    assert "top_k: 3\n" in text
