"""Every recipe of configs/recipes is read by the real command line, fits together, and runs."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fakes import FakeTower, with_fake_encoder
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor

from clad.cli.main import main
from clad.data.tiny import save_category
from clad.tasks.anomaly_task import AnomalyTask
from clad.types import ImageFeatures

FOLDER = Path(__file__).parents[2] / "configs" / "recipes"
CATEGORIES = ("metal_nut", "tile")


@pytest.fixture(params=sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def recipe(request) -> Path:
    return request.param


def read(recipe: Path) -> dict[str, Any]:
    return yaml.safe_load(recipe.read_text(encoding="utf-8"))


def header(recipe: Path) -> str:
    """The comment above the first key."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    end = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[:end])


class LayeredTower(FakeTower):
    """The fake tower with as many layers as a recipe speaks of, on one grid where its own are."""

    def __init__(self, aligned: bool, num_layers: int, one_grid: bool, windows: bool) -> None:
        super().__init__(aligned=aligned)
        self.window_sides = self.window_sides if windows else ()
        self.order = tuple(0 if one_grid else min(layer, 1) for layer in range(num_layers))
        self.token_dims = tuple(self.token_dims[n] for n in self.order)

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        found = super().encode_pixels(pixels)
        return replace(
            found,
            tokens=tuple(found.tokens[n] for n in self.order),
            grids=tuple(found.grids[n] for n in self.order),
            patches=found.patches and tuple(found.patches[n] for n in self.order),
        )


def with_fake_tower(recipe: Path) -> dict[str, Any]:
    """The recipe around a fake tower, which is aligned with text where the recipe's own is."""
    content = read(recipe)
    tower = content["model"]["tower"]
    module, _, name = tower["class_path"].rpartition(".")
    arguments = tower.get("init_args", {})
    layers = arguments.get("strides") or arguments.get("layers") or (0, 1, 2)
    content["model"]["tower"] = {
        "class_path": f"{__name__}.LayeredTower",
        "init_args": {
            "aligned": getattr(importlib.import_module(module), name).is_aligned,
            "num_layers": len(layers),
            "one_grid": "layers" in arguments,
            "windows": "window_sides" in arguments,
        },
    }
    inputs = content["model"].get("inputs", {}).get("init_args", {})
    if "padding" in inputs:
        inputs["padding"] = 8  # of the fake tower's 32 pixels
    tuning = content["model"].get("tuning", {}).get("init_args", {})
    if tuning.get("image_blocks", 0) > 6:
        tuning["image_blocks"] = 6  # of the fake tower's 7
    return with_fake_encoder(content)


def earlier_stage(recipe: Path) -> Path | None:
    """The recipe whose checkpoint this one starts from, as its header tells."""
    named = re.search(
        r"^# After: clad fit --config configs/recipes/(\w+\.yaml)", header(recipe), re.M
    )
    return None if named is None else recipe.with_name(named[1])


def test_the_command_line_reads_it_and_fills_in_the_rest(recipe, capsys):
    assert main(["fit", "--config", str(recipe), "--data.root=images", "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["head"]["class_path"] == read(recipe)["model"]["head"]["class_path"]
    assert "false_alarm_budget" in printed["model"]


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        ("Command", r"clad fit --config configs/recipes/{name}\.yaml( .*)?"),
        ("Expected", r".*(\d|not measured).*"),
        ("Time", r".*(\d|not measured).*"),
        ("Machine", r".+"),
    ],
    ids=lambda value: value if value.isalpha() else "",
)
def test_header_says_command_numbers_time_and_machine(recipe, word, pattern):
    wanted = rf"^# {word}: {pattern.format(name=recipe.stem)}$"
    assert re.search(wanted, header(recipe), re.MULTILINE), (
        f"expected a line like {wanted} above the first key of {recipe.name}"
    )


def test_its_slots_fit_together(recipe):
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(AnomalyTask, "model")
    model = with_fake_tower(recipe)["model"]
    task = parser.instantiate_classes(parser.parse_object({"model": model})).model
    task.attach(CATEGORIES)
    is_taught = bool(list(task.losses)) or earlier_stage(recipe) is not None
    assert is_taught == any(p.requires_grad for p in task.parameters())


def test_seed_and_length_are_decided(recipe):
    content = read(recipe)
    assert "seed_everything" in content
    trainer = content["trainer"]
    assert max(trainer.get("max_epochs", 0), trainer.get("max_steps", 0)) >= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_trains_and_tests_on_a_miniature(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind, category in enumerate(CATEGORIES):
        folder = tmp_path / "images" / category
        save_category(folder, np.random.default_rng(kind), kind, num_train=16, num_test=2)
    stage = earlier_stage(recipe)
    first = [] if stage is None else ["--model.initial_weights", str(train(stage, tmp_path))]
    checkpoint = train(recipe, tmp_path, *first)
    assert checkpoint.stat().st_size < 8 * 2**20, "a run keeps a few MB, never the tower"
    run = checkpoint.parents[1]
    command = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(checkpoint)]
    assert main([*command, f"--trainer.default_root_dir={run}"]) == 0, capsys.readouterr().err
    mean = json.loads((run / "metrics.json").read_text())["test"]["mean"]
    assert {"image_auroc", "pixel_auroc", "pixel_aupro"} <= set(mean)


def train(recipe: Path, folder: Path, *arguments: str) -> Path:
    """The checkpoint of one epoch on the miniature in ``folder``, around a fake tower."""
    content = with_fake_tower(recipe)
    content["data"] |= {"root": "images", "categories": "all", "image_size": 32, "num_workers": 0}
    for name in ("shots", "anomalies_per_type", "reserved_per_type", "anomaly_share"):
        content["data"].pop(name, None)  # numbers that fit the recipe's own data set
    content["data"]["source"] = {
        "class_path": "clad.data.mvtec_ad.MVTecAD",
        "init_args": {"validation_fraction": 0.4},
    }
    if content["data"].get("paired_synthesis"):  # the miniature shows no faces
        content["data"]["synthesis"] = {"class_path": "clad.synthesis.blobs.Blobs"}
    content["trainer"] |= {"max_epochs": 1, "accelerator": "cpu"}
    small = folder / recipe.name
    small.write_text(yaml.safe_dump(content))
    run = folder / f"run_{recipe.stem}"
    command = ["fit", "--config", str(small), f"--trainer.default_root_dir={run}"]
    assert main([*command, *arguments]) == 0
    return run / "checkpoints" / "last.ckpt"
