"""`clad protocol`: train on one data set, test on another, on miniatures and the fake tower."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_recipe import Shown, clad, write_part, write_recipe

from clad.data.mvtec_ad import MVTecAD
from clad.data.tiny import save_category
from clad.data.visa import VisA
from clad.reports.run_directory import read_run

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "protocols").glob("*.yaml"))
RECIPE = "recipes/words.yaml"


@pytest.fixture(scope="module", autouse=True)
def _place(workplace: Path) -> None:
    path = write_recipe(workplace, "words")
    content = yaml.safe_load(path.read_text())
    content["model"]["head"] = {"class_path": "clad.heads.patch_text.PatchText"}
    content["trainer"]["max_epochs"] = 1
    path.write_text(yaml.safe_dump(content))
    MVTecAD().write_tiny(workplace / "mvtec", seed=1)
    VisA().write_tiny(workplace / "visa", seed=2)
    for seed, name in enumerate(("left", "right", "third")):
        save_category(workplace / name, np.random.default_rng(seed))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def run_dir(shown: Shown) -> Path:
    assert shown.status == 0, shown.err
    return Path(re.search(r"^results: (.+)$", shown.out, re.MULTILINE)[1])


@pytest.fixture(scope="module")
def shown() -> Shown:
    return clad("protocol", "visa_to_mvtec_ad", "--visa", "visa", "--config", RECIPE,
                "--mvtec_ad=mvtec", "--data.train_batch_size", "4")  # fmt: skip


def test_table_has_the_categories_of_the_target_and_the_mean(shown: Shown) -> None:
    metrics = read_json(run_dir(shown) / "metrics.json")["test"]
    rows = {words[0]: words[1:] for line in shown.out.splitlines() if (words := line.split())}
    assert set(metrics["per_category"]) == {"metal_nut", "tile"}
    for name, values in {**metrics["per_category"], "mean": metrics["mean"]}.items():
        expected = [values[column] for column in rows["category"]]
        assert [float(cell) for cell in rows[name]] == pytest.approx(expected, abs=1e-3)
    assert "epoch 1/1: loss " in shown.out
    assert shown.out.splitlines()[-1] == f"next: clad report {run_dir(shown)}"


def test_one_run_directory_holds_weights_results_rule_and_both_fingerprints(shown: Shown) -> None:
    folder = run_dir(shown)
    assert folder.parent == Path("runs/words")
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    run = read_run(folder)
    assert set(run.card["seconds"]) == {"build", "fit", "test"}
    assert run.card["command"].startswith("clad protocol visa_to_mvtec_ad --visa visa ")
    rule = "as many epochs as the recipe says, the last one kept, nothing chosen on the target"
    wanted = {"name": "visa_to_mvtec_ad", "rule": rule, "max_epochs": 1, "max_steps": -1}
    assert run.card["protocol"] == wanted
    assert run.card["threshold"] is None
    assert run.data is not None
    assert run.data["rule"] == rule
    visa, mvtec = run.data["parts"]
    assert (visa["used_as"], visa["source"], visa["root"]) == ("auxiliary", "visa", "visa")
    assert (mvtec["used_as"], mvtec["source"], mvtec["root"]) == ("target", "mvtec_ad", "mvtec")
    assert set(run.data["counts"]["train"]) == {"candle", "pcb1"}
    assert set(run.data["counts"]["test"]) == {"metal_nut", "tile"}


def test_its_weights_can_be_tested_again_and_reported(shown: Shown) -> None:
    folder = run_dir(shown)
    again = clad("test", "--ckpt_path", folder)
    first, second = (read_json(f / "metrics.json")["test"] for f in (folder, run_dir(again)))
    assert first == second
    page = clad("report", folder)
    assert page.status == 0, page.err
    text = (folder / "report.html").read_text()
    assert "nothing chosen on the target" in text
    assert "visa; mvtec_ad" in text


def test_folders_of_ones_own_with_several_auxiliaries() -> None:
    shown = clad("protocol", "folders", "--config", RECIPE, "--auxiliary=left", "--auxiliary",
                 "right", "--target", "third", "--trainer.default_root_dir=own")  # fmt: skip
    data = read_json(run_dir(shown) / "data.json")
    assert [part["root"] for part in data["parts"]] == ["left", "right", "third"]
    assert [part["used_as"] for part in data["parts"]] == ["auxiliary", "auxiliary", "target"]
    assert [part["name"] for part in data["parts"]] == ["auxiliary_1", "auxiliary_2", "target"]
    assert set(data["counts"]["test"]) == {"third"}


def test_folders_may_be_seen_from_a_root_and_stand_in_a_file_of_ones_own(workplace: Path) -> None:
    content = yaml.safe_load(next(p for p in SHIPPED if p.stem == "folders").read_text())
    arguments = content["data"]["source"]["init_args"]
    arguments["auxiliary"][0] |= {"name": "from", "root": "left"}
    arguments["target"] |= {"name": "to", "root": "right"}
    own = write_part(workplace, "own_protocol", content)
    Path("elsewhere").mkdir()
    shown = clad("protocol", own, "--config", RECIPE, "--data.root=.", "--to", "third",
                 "--trainer.default_root_dir=rooted")  # fmt: skip
    data = read_json(run_dir(shown) / "data.json")
    assert [part["root"] for part in data["parts"]] == ["left", "third"]
    assert read_json(Path("rooted/run.json"))["protocol"]["name"] == "own_protocol"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=recipes/tiny.yaml"], r"can score categories it was not .*got NormalMemory, wh"),
        (["--config", RECIPE, "--trainer.max_epochs=-1"], r"expected a recipe that fixes its len"),
        (["--config", RECIPE, "--visa=gone"], r"--visa to be a folder, found nothing at gone"),
        (["--config", RECIPE, "--visa=mvtec"], r"expected the table mvtec/split_csv/1cls\.csv"),
        (["--config", RECIPE, "--mvtec=mvtec"], r"--mvtec"),
        ([], r"expected a recipe to train, got no --config"),
        (["--config=gone.yaml"], r"expected a configuration file at gone\.yaml, found none"),
    ],
)
def test_what_cannot_run_is_refused_and_leaves_nothing(words: list[str], message: str) -> None:
    before = {path for path in Path("runs").rglob("*")}
    shown = clad("protocol", "visa_to_mvtec_ad", "--visa=visa", "--mvtec_ad=mvtec", *words)
    assert shown.status == 2
    assert re.search(message, shown.err), shown.err
    assert {path for path in Path("runs").rglob("*") if path.is_file()} <= before


def test_finished_weights_are_for_clad_test(shown: Shown) -> None:
    again = clad("protocol", "visa_to_mvtec_ad", "--visa=visa", "--mvtec_ad=mvtec", "--config",
                 RECIPE, "--ckpt_path", run_dir(shown))  # fmt: skip
    assert again.status == 2
    assert "expected to train from the start, got --ckpt_path" in again.err


def test_a_folder_that_is_not_given_is_asked_for() -> None:
    shown = clad("protocol", "visa_to_mvtec_ad", "--visa=visa", "--config", RECIPE)
    assert shown.status == 2
    assert "expected a folder for mvtec_ad, got none; pass --mvtec_ad DIR" in shown.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("visa_to_mvtec", r"one of folders, .* got 'visa_to_mvtec'; did you mean visa_to_mvtec_ad"),
        ("gone.yaml", r"expected a configuration file at gone\.yaml"),
        (RECIPE, r"expected data\.source of .* with auxiliary parts and a target, each with a na"),
    ],
)
def test_unknown_protocols_are_refused(name: str, message: str) -> None:
    shown = clad("protocol", name, "--config", RECIPE)
    assert shown.status == 2
    assert re.search(message, shown.err), shown.err


def test_help_names_protocols_and_their_folders() -> None:
    shown = clad("protocol", "--help")
    assert shown.status == 0
    for path in SHIPPED:
        assert re.search(rf"^  {path.stem} +Learn from ", shown.out, re.MULTILINE)
    own = clad("protocol", "visa_to_mvtec_ad", "--help").out
    assert "--visa DIR" in own
    assert "--mvtec_ad DIR" in own


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_protocol_goes_on_top_of_a_recipe(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert set(content) == {"trainer", "data"}
    shown = clad("fit", "--config", RECIPE, "--config", path, "--print_config")
    assert shown.status == 0, shown.err
    data = yaml.safe_load(shown.out)["data"]
    assert data["source"]["class_path"] == "clad.data.cross.CrossDataset"
    assert data["source"]["init_args"]["rule"]
    command = re.search(r"^# Command: clad protocol (\S+) ", path.read_text(), re.MULTILINE)
    assert command[1] == path.stem
