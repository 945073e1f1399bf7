"""A recipe of real parts around the fake tower, small enough to train within a test."""

from __future__ import annotations

import contextlib
import copy
import io
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.pytorch import Callback

from clad.cli.main import main
from clad.data.mvtec_ad import MVTecAD

_RECIPE: dict[str, Any] = {
    "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": 2, "limit_val_batches": 0},
    "model": {
        "tower": {"class_path": "fakes.FakeTower", "init_args": {"embed_dim": 16, "seed": 3}},
        "prompts": {"class_path": "clad.prompts.single_pair.SinglePair"},
        "adapter": {
            "class_path": "clad.adapters.token_projection.TokenProjection",
            "init_args": {"hidden_dim": 8},
        },
        "losses": [
            {
                "class_path": "clad.losses.patch_focal.PatchFocal",
                "init_args": {"weight": 2.0, "gamma": 1.0},
            }
        ],
        "head": {
            "class_path": "clad.heads.normal_memory.NormalMemory",
            "init_args": {"size": 64},
        },
    },
    "data": {
        "source": {
            "class_path": "clad.data.folder.Folder",
            "init_args": {"validation_fraction": 0.6},
        },
        "image_size": 32,
        "train_batch_size": 8,
        "num_workers": 0,
        "synthesis": {"class_path": "clad.synthesis.blobs.Blobs"},
    },
}


class Shown(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


def clad(*words: str | Path) -> Shown:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return Shown(status, out.getvalue(), err.getvalue())


def write_recipe(folder: Path, name: str = "tiny") -> Path:
    """``recipes/NAME.yaml`` below the folder."""
    path = folder / "recipes" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(copy.deepcopy(_RECIPE)))
    return path


def write_part(folder: Path, name: str, content: dict[str, Any] | str) -> Path:
    """A YAML with part of a configuration."""
    path = folder / f"{name}.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def write_images(folder: Path) -> Path:
    """Two categories in the layout of MVTec AD: 8 training and 9 test images each."""
    MVTecAD().write_tiny(folder)
    return folder


class Interrupter(Callback):
    """Presses Ctrl+C in the second epoch."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
