"""fit, test, validate and predict, in this process, on tiny images and the fake tower."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny_recipe import Shown, clad, write_part

from clad.reports.run_directory import read_run


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


class Fitted(NamedTuple):
    folder: Path
    shown: Shown
    run_dir: Path

    @property
    def checkpoint(self) -> Path:
        return self.run_dir / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def fitted(workplace: Path) -> Fitted:
    shown = clad("fit", "--config", "recipes/tiny.yaml", "--data.root", "images")
    assert shown.status == 0, shown.err
    (run_dir,) = Path("runs/tiny").iterdir()
    return Fitted(workplace, shown, run_dir)


def new_run(shown: Shown) -> Path:
    assert shown.status == 0, shown.err
    return Path(re.search(r"^results: (.+)$", shown.out, re.MULTILINE)[1])


# fit


def test_fit_leaves_a_run_directory(fitted: Fitted) -> None:
    assert re.fullmatch(r"\d{8}-\d{6}", fitted.run_dir.name)
    written = {p.relative_to(fitted.run_dir).as_posix() for p in fitted.run_dir.rglob("*.*")}
    written = {name for name in written if not name.startswith("training/")}
    assert written == {"config.yaml", "run.json", "data.json", "checkpoints/last.ckpt"}
    card = read_json(fitted.run_dir / "run.json")
    assert card["recipe"] == "tiny"
    assert card["command"] == "clad fit --config recipes/tiny.yaml --data.root images"
    assert card["seed"] == 42
    assert set(card["seconds"]) == {"build", "fit"}
    assert min(card["seconds"].values()) > 0
    assert card["parameters"]["tower"]["learning"] == 0 < card["parameters"]["tower"]["frozen"]
    assert read_json(fitted.run_dir / "data.json")["counts"]["test"]["tile"]["anomalous"] == 6


def test_fit_tells_what_learns_and_what_is_next(fitted: Fitted) -> None:
    lines = fitted.shown.out.splitlines()
    assert re.match(r"[\d,]+ of [\d,]+ weights learn; writing to runs/tiny/", lines[0])
    assert re.match(r"weights that learn: tower 0 of [\d,]+, adapter ([\d,]+) of \1", lines[1])
    assert [line.partition(":")[0] for line in lines[2:4]] == ["epoch 1/2", "epoch 2/2"]
    assert lines[-2] == f"checkpoint: {fitted.checkpoint}"
    assert lines[-1] == (
        f"next: clad test --config {fitted.run_dir}/config.yaml --ckpt_path {fitted.checkpoint}"
    )


def test_checkpoint_holds_the_head_as_it_was_at_the_end(fitted: Fitted) -> None:
    stored = torch.load(fitted.checkpoint, weights_only=True)
    banks = [value for name, value in stored["state_dict"].items() if name.startswith("head.bank")]
    assert [len(bank) for bank in banks] == [48, 48]  # 3 images with 16 patches each


def test_config_of_a_run_is_complete_and_repeats_elsewhere(fitted: Fitted) -> None:
    config = yaml.safe_load((fitted.run_dir / "config.yaml").read_text())
    assert set(config) == {"seed_everything", "trainer", "model", "data", "ckpt_path"}
    assert config["seed_everything"] == 42
    assert config["data"]["root"] == "images"
    assert config["data"]["test_batch_size"] == 32
    assert config["trainer"]["default_root_dir"] is None
    assert config["model"]["losses"][0]["init_args"]["gamma"] == 1.0


def test_fit_refuses_to_overwrite_weights(fitted: Fitted) -> None:
    before = fitted.checkpoint.read_bytes()
    config = fitted.run_dir / "config.yaml"
    shown = clad("fit", "--config", config, "--trainer.default_root_dir", fitted.run_dir)
    assert shown.status == 2
    assert re.search(r"expected a run directory without weights, found .*last\.ckpt", shown.err)
    assert fitted.checkpoint.read_bytes() == before


def test_fit_of_no_epochs_keeps_a_checkpoint(fitted: Fitted) -> None:
    where = "--trainer.default_root_dir=untrained"
    config = fitted.run_dir / "config.yaml"
    shown = clad("fit", "--config", config, "--trainer.max_epochs=0", where)
    assert shown.status == 0, shown.err
    assert Path("untrained/checkpoints/last.ckpt").is_file()


def test_interrupted_fit_says_where_the_weights_are(fitted: Fitted) -> None:
    callback = {"trainer": {"callbacks": [{"class_path": "tiny_recipe.Interrupter"}]}}
    part = write_part(fitted.folder, "interrupted", callback)
    handler = signal.getsignal(signal.SIGINT)
    try:
        shown = clad(
            "fit", "--config", fitted.run_dir / "config.yaml", "--config", part,
            "--trainer.default_root_dir=cut",
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning switches it off for good
    assert shown.status == 130
    assert shown.err.splitlines()[-1] == (
        "clad: interrupted; the last checkpoint is cut/checkpoints/last.ckpt; continue with: "
        "clad fit --ckpt_path cut --trainer.default_root_dir cut"
    )
    assert Path("cut/checkpoints/last.ckpt").is_file()
    resumed = clad("fit", "--ckpt_path=last", "--trainer.default_root_dir=cut",
                   "--config", fitted.run_dir / "config.yaml")  # fmt: skip
    assert resumed.status == 0, resumed.err
    assert re.findall(r"^epoch (\d)/2", resumed.out, re.MULTILINE) == ["2"]


# test


@pytest.fixture(scope="module")
def tested(fitted: Fitted) -> Shown:
    next_command = fitted.shown.out.splitlines()[-1].removeprefix("next: clad ")
    return clad(*shlex.split(next_command))


def test_next_command_writes_a_complete_run(fitted: Fitted, tested: Shown) -> None:
    run_dir = new_run(tested)
    assert run_dir.parent == Path("runs/tiny")
    assert run_dir != fitted.run_dir
    run = read_run(run_dir)
    assert len(run.predictions.paths) == 18
    assert run.gallery is not None
    assert run.config is not None
    assert run.card["ckpt"] == str(fitted.checkpoint)
    assert set(run.card["seconds"]) == {"build", "test"}
    assert set(run.card["threshold"]) == {"metal_nut", "tile"}
    assert "5 normal validation images" in run.card["threshold_source"]


def test_metrics_file_has_the_agreed_keys(tested: Shown) -> None:
    metrics = read_json(new_run(tested) / "metrics.json")["test"]
    keys = {"image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_aupro"}
    assert keys <= set(metrics["mean"])
    assert set(metrics["per_category"]) == {"metal_nut", "tile"}
    for name in keys:
        values = [metrics["per_category"][category][name] for category in ("metal_nut", "tile")]
        assert metrics["mean"][name] == pytest.approx(sum(values) / 2)


def test_table_shows_what_the_file_holds(tested: Shown) -> None:
    metrics = read_json(new_run(tested) / "metrics.json")["test"]
    rows = {words[0]: words[1:] for line in tested.out.splitlines() if (words := line.split())}
    columns = rows["category"]
    assert columns == ["image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_aupro"]
    for name, values in {**metrics["per_category"], "mean": metrics["mean"]}.items():
        shown = [float(cell) for cell in rows[name]]
        assert shown == pytest.approx([values[column] for column in columns], abs=1e-3)
    assert f"next: clad report {new_run(tested)}" in tested.out


def test_checkpoint_alone_is_enough(fitted: Fitted, tested: Shown) -> None:
    for wanted in (fitted.checkpoint, fitted.run_dir):
        again = clad("test", f"--ckpt_path={wanted}")
        first, second = new_run(tested), new_run(again)
        assert second.parent == first.parent
        assert read_json(second / "metrics.json") == read_json(first / "metrics.json")


def test_test_beside_the_weights_keeps_what_is_there(fitted: Fitted) -> None:
    run_dir = Path("beside")
    config = fitted.run_dir / "config.yaml"
    where = f"--trainer.default_root_dir={run_dir}"
    assert clad("fit", "--config", config, where).status == 0
    saved = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert saved["trainer"]["default_root_dir"] is None
    shown = clad("test", "--config", config, where, "--ckpt_path=last")
    assert new_run(shown) == run_dir
    assert set(read_json(run_dir / "run.json")["seconds"]) == {"build", "fit", "test"}
    assert (run_dir / "checkpoints" / "last.ckpt").is_file()


def test_report_verb_writes_the_page(tested: Shown) -> None:
    shown = clad("report", new_run(tested))
    page = new_run(tested) / "report.html"
    assert shown == Shown(0, f"{page}\n", "")
    assert "metal_nut" in page.read_text()


# validate and predict


def test_validate_prints_reasons_for_what_is_undefined(fitted: Fitted) -> None:
    shown = clad("validate", "--ckpt_path", fitted.checkpoint)
    assert re.search(
        r"^undefined: image_auroc.* of tile: no anomalous image", shown.out, re.MULTILINE
    )
    assert "mean false alarms 0.000" in shown.out
    assert "image_auroc  " not in shown.out, "an empty table was printed"
    metrics = read_json(new_run(shown) / "metrics.json")
    assert set(metrics) == {"validation"}
    assert metrics["validation"]["mean"]["image_auroc"] is None


def test_validate_without_images_is_refused(fitted: Fitted) -> None:
    before = {path.name for path in Path("runs/tiny").iterdir()}
    shown = clad("validate", "--ckpt_path", fitted.checkpoint,
                 "--data.source.init_args.validation_fraction=0")  # fmt: skip
    assert shown.status == 2
    assert "expected validation images, got none from folder" in shown.err
    assert {path.name for path in Path("runs/tiny").iterdir()} == before


def test_predict_writes_scores_and_maps(fitted: Fitted, tested: Shown) -> None:
    shown = clad("predict", "--ckpt_path", fitted.checkpoint, "--trainer.default_root_dir=seen")
    assert shown.status == 0, shown.err
    folder = Path("seen/predictions")
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = read_run(new_run(tested)).predictions
    assert [row["path"] for row in rows] == list(table.paths)
    np.testing.assert_allclose([float(row["score"]) for row in rows], table.scores, rtol=1e-5)
    called = [float(row["score"]) >= float(row["threshold"]) for row in rows]
    assert [row["is_anomalous"] for row in rows] == [str(int(each)) for each in called]
    assert f"18 images, {sum(called)} called anomalous" in shown.out
    pictures = sorted(p.relative_to(folder / "maps").as_posix() for p in folder.rglob("*.png"))
    expected = [Path(row["path"]).relative_to("images").as_posix() for row in rows]
    assert pictures == sorted(expected)
    assert Image.open(folder / "maps" / pictures[0]).size == (32, 32)
    assert {p.name for p in folder.iterdir()} == {"scores.csv", "maps"}


def test_same_seed_same_weights(fitted: Fitted) -> None:
    config = fitted.run_dir / "config.yaml"
    losses = []
    for name, seed in (("a", 42), ("b", 42), ("c", 7)):
        shown = clad("fit", "--config", config, f"--trainer.default_root_dir=seed_{name}",
                     f"--seed_everything={seed}")  # fmt: skip
        losses.append(float(re.search(r"epoch 2/2: loss ([\d.]+)", shown.out)[1]))
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1] != losses[2]
