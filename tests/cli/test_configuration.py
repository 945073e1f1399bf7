"""Stacked files, references, lists: what a configuration comes to."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_recipe import clad, write_part

CONFIGS = Path(__file__).parents[2] / "configs"
TRAINERS = sorted((CONFIGS / "trainer").glob("*.yaml"))
FEATURE_CACHES = sorted((CONFIGS / "feature_cache").glob("*.yaml"))
METRICS = sorted((CONFIGS / "metrics").glob("*.yaml"))

pytestmark = pytest.mark.usefixtures("workplace")


def test_print_config_reads_back_the_same(workplace: Path) -> None:
    first = clad("fit", "--config", "recipes/tiny.yaml", "--data.root=images", "--print_config")
    assert first.status == 0, first.err
    part = write_part(workplace, "printed", first.out)
    second = clad("fit", "--config", part, "--print_config")
    assert yaml.safe_load(second.out) == yaml.safe_load(first.out)
    assert yaml.safe_load(first.out)["model"]["head"]["init_args"]["size"] == 64


def printed(*words: str | Path) -> dict:
    shown = clad("fit", "--config", "recipes/tiny.yaml", *words, "--print_config")
    assert shown.status == 0, shown.err
    return yaml.safe_load(shown.out)


def test_later_files_win_and_keep_the_rest(workplace: Path) -> None:
    source = {"init_args": {"test_fraction": 0.5}}
    part = write_part(workplace, "later", {"data": {"source": source, "image_size": 64}})
    data = printed("--config", part, "--data.train_batch_size=4")["data"]
    assert data["source"]["init_args"] == {"validation_fraction": 0.6, "test_fraction": 0.5}
    assert (data["image_size"], data["train_batch_size"]) == (64, 4)


def test_options_win_over_files_in_any_order(workplace: Path) -> None:
    part = write_part(workplace, "after", {"data": {"image_size": 64, "root": None}})
    data = printed("--data.image_size=32", "--data.root=images", "--config", part)["data"]
    assert (data["image_size"], data["root"]) == (32, "images")


def test_lists_can_grow(workplace: Path) -> None:
    loss = {"class_path": "clad.losses.patch_dice.PatchDice", "init_args": {"weight": 0.5}}
    part = write_part(workplace, "grow", {"model": {"losses+": [loss]}})
    losses = printed("--config", part)["model"]["losses"]
    assert [each["class_path"].rpartition(".")[2] for each in losses] == ["PatchFocal", "PatchDice"]
    assert losses[0]["init_args"]["weight"] == 2.0


def test_references_and_environment_are_resolved(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES_OF_A_TEST", "images")
    data = {"root": "${oc.env:IMAGES_OF_A_TEST}", "test_batch_size": "${data.train_batch_size}"}
    part = write_part(workplace, "references", {"data": data})
    # The value comes from another file, and from the command line after it.
    resolved = printed("--config", part, "--data.train_batch_size=4")["data"]
    assert (resolved["root"], resolved["test_batch_size"]) == ("images", 4)


@pytest.mark.parametrize("part", TRAINERS, ids=[path.stem for path in TRAINERS])
def test_trainer_parts_go_on_top_of_a_recipe(part: Path) -> None:
    wanted = yaml.safe_load(part.read_text())
    assert set(wanted) == {"trainer"}
    trainer = printed("--config", part)["trainer"]
    assert {name: trainer.get(name) for name in wanted["trainer"]} == wanted["trainer"]
    assert trainer["limit_val_batches"] == wanted["trainer"].get("limit_val_batches", 0)


@pytest.mark.parametrize("part", FEATURE_CACHES, ids=[path.stem for path in FEATURE_CACHES])
def test_feature_caches_go_on_top_of_a_recipe(part: Path) -> None:
    wanted = yaml.safe_load(part.read_text())
    assert set(wanted) == {"model"}
    assert printed()["model"]["feature_cache"] is None
    assert printed("--config", part)["model"]["feature_cache"] == wanted["model"]["feature_cache"]


def test_another_optimiser_brings_its_own_defaults(workplace: Path) -> None:
    chosen = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}}
    part = write_part(workplace, "sgd", {"model": {"optimizer": chosen}})
    settings = printed("--config", part)["model"]["optimizer"]["init_args"]
    assert settings["lr"] == 0.5
    assert settings["weight_decay"] == 0.0  # that of AdamW is 0.01


@pytest.mark.parametrize("path", METRICS, ids=lambda path: path.stem)
def test_settings_of_metrics_lie_over_any_recipe(path: Path) -> None:
    given = yaml.safe_load(path.read_text())["model"]["metrics"]
    found = printed("--config", path)["model"]["metrics"]
    assert given
    assert {name: found[name] for name in given} == given
