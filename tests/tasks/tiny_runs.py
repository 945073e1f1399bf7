"""Recipes around a fake tower on a miniature data set, and a trainer that writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from fakes import FakeTower
from lightning.pytorch import Trainer, seed_everything

from clad.adapters.token_projection import TokenProjection
from clad.data.datamodule import AnomalyDataModule
from clad.data.mvtec_ad import MVTecAD
from clad.data.tiny import save_category
from clad.heads.fused import Fused
from clad.heads.image_text import ImageText
from clad.heads.normal_memory import NormalMemory
from clad.heads.normal_statistics import NormalStatistics
from clad.heads.patch_text import PatchText
from clad.losses.image_cross_entropy import ImageCrossEntropy
from clad.losses.patch_focal import PatchFocal
from clad.prompts.single_pair import SinglePair
from clad.synthesis.blobs import Blobs
from clad.tasks.anomaly_task import AnomalyTask

CATEGORIES = ("metal_nut", "tile")


def write_images(root: Path) -> None:
    """Two categories with 20 normal training images each: 8 of them will be for validation."""
    for kind, category in enumerate(CATEGORIES):
        save_category(root / category, np.random.default_rng(kind), kind, num_train=20, num_test=2)


def make_data(root: Path, **settings: Any) -> AnomalyDataModule:
    defaults: dict[str, Any] = {
        "image_size": 32,
        "train_batch_size": 8,
        "num_workers": 0,
        "synthesis": Blobs(),
        "synthesis_probability": 0.6,
    }
    return AnomalyDataModule(MVTecAD(validation_fraction=0.4), root, **(defaults | settings))


def text_recipe(**settings: Any) -> AnomalyTask:
    """Everything at once: words, a learning adapter, two losses, a fused head."""
    defaults: dict[str, Any] = {
        "tower": FakeTower(aligned=False),
        "head": Fused(
            [ImageText(), PatchText(sigma_px=1.0), NormalMemory(size=60), NormalStatistics()]
        ),
        "prompts": SinglePair(),
        "adapter": TokenProjection(hidden_dim=16, dropout=0.2),
        "losses": [ImageCrossEntropy(), PatchFocal(weight=2.0)],
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    }
    return AnomalyTask(**(defaults | settings))


def memory_recipe(**settings: Any) -> AnomalyTask:
    """Nothing to train: a memory of normal patches."""
    return AnomalyTask(FakeTower(), NormalMemory(size=60), **settings)


def make_trainer(**settings: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }
    return Trainer(**(defaults | settings))


def fitted(
    root: Path, task: AnomalyTask, seed: int = 1, ckpt_path: Path | None = None, **settings: Any
) -> Trainer:
    seed_everything(seed, verbose=False)
    trainer = make_trainer(**settings)
    trainer.fit(task, datamodule=make_data(root), ckpt_path=ckpt_path)
    return trainer


def maps_of(root: Path, task: AnomalyTask, **settings: Any) -> np.ndarray:
    """(N, H, W) maps of the test images, by a trainer with these settings."""
    found = make_trainer(**settings).predict(task, datamodule=make_data(root))
    return torch.cat([each.maps for each in found]).numpy()


def scores_of(root: Path, task: AnomalyTask, path: Path | None = None, **settings: Any):
    """Scores of the test images, from the task as it is or with a checkpoint's weights."""
    make_trainer().test(task, datamodule=make_data(root, **settings), ckpt_path=path, verbose=False)
    assert task.collected is not None
    return task.collected.scores
