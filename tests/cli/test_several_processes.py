"""The verbs of the trainer in two processes (gloo) beside one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from tiny_recipe import clad

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
TWO = ("--trainer.accelerator", "cpu", "--trainer.devices", "2")


def in_two_processes(*words: str, strategy: str = "ddp") -> str:
    """What the command prints; it starts the second process by itself."""
    folders = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    done = subprocess.run(
        [sys.executable, "-m", "clad", *words, *TWO, "--trainer.strategy", strategy],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(workplace: Path) -> list[str]:
    """Words of a verb that uses the weights of a training in one process."""
    # An odd number of images: evened out, one would count twice. One less of the last category, so
    # that both processes have images of the first.
    sorted(Path("images").glob("*/test/good/*.png"))[-1].unlink()
    place = ["--trainer.default_root_dir", "trained"]
    shown = clad("fit", "--config", "recipes/tiny.yaml", "--data.root", "images", *place)
    assert shown.status == 0, shown.err
    return ["--config", "trained/config.yaml", "--ckpt_path", "trained/checkpoints/last.ckpt"]


def expect_equal(ours: dict, theirs: dict) -> None:
    """Metrics of two processes and of one, of images to the last digit.

    Added up, histograms have other bins than one that saw everything: on so few pixels it shows.
    """
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        if isinstance(value, dict):
            expect_equal(ours[name], value)
        elif isinstance(value, float) and name.startswith("pixel"):
            assert ours[name] == pytest.approx(value, abs=1e-9), name
        else:
            assert ours[name] == value, name


def test_test_gives_the_metrics_of_one_process_and_one_row_per_image(trained: list[str]) -> None:
    assert clad("test", *trained, "--trainer.default_root_dir", "one").status == 0
    shown = in_two_processes("test", *trained, "--trainer.default_root_dir", "two")
    assert shown.count("results: two") == 1
    expect_equal(*(json.loads(Path(run, "metrics.json").read_text()) for run in ("two", "one")))
    two, one = (parquet.read_table(Path(run, "predictions.parquet")) for run in ("two", "one"))
    assert two["path"].to_pylist() == one["path"].to_pylist()
    assert len(set(one["path"].to_pylist())) == len(one) == 17
    for name in ("score", "threshold", "percentile"):
        np.testing.assert_allclose(two[name].to_numpy(), one[name].to_numpy(), rtol=1e-6)
    with np.load("two/gallery.npz") as ours, np.load("one/gallery.npz") as theirs:
        for name in ("rows", "is_hit", "images", "masks", "has_mask"):
            np.testing.assert_array_equal(ours[name], theirs[name])
        np.testing.assert_allclose(ours["maps"], theirs["maps"], atol=0.02)


def test_validation_counts_each_image_once(trained: list[str]) -> None:
    for run, start in (("one_validation", clad), ("two_validation", in_two_processes)):
        start("validate", *trained, "--trainer.default_root_dir", run)
    runs = ("two_validation", "one_validation")
    expect_equal(*(json.loads(Path(run, "metrics.json").read_text()) for run in runs))


def test_predict_writes_one_table_and_a_picture_per_image(trained: list[str]) -> None:
    assert clad("predict", *trained, "--trainer.default_root_dir", "one_predict").status == 0
    shown = in_two_processes("predict", *trained, "--trainer.default_root_dir", "two_predict")
    assert shown.count("17 images, ") == 1
    tables = []
    for run in ("one_predict", "two_predict"):
        with Path(run, "predictions", "scores.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    for one, two in zip(*tables, strict=True):
        assert one["path"] == two["path"]
        assert one["is_anomalous"] == two["is_anomalous"]
        assert float(one["score"]) == pytest.approx(float(two["score"]), rel=1e-6)
    for picture in Path("one_predict", "predictions", "maps").rglob("*.png"):
        two = Path("two_predict", *picture.parts[1:])
        shades = [np.asarray(Image.open(file), dtype=int) for file in (picture, two)]
        assert np.abs(shades[0] - shades[1]).max() <= 4, picture
    names = [
        sorted(str(p.relative_to(run)) for p in Path(run).rglob("*") if p.is_file())
        for run in ("one_predict", "two_predict")
    ]
    assert names[0] == names[1]


def test_a_training_shows_every_image_to_the_head_of_each_process(trained: list[str]) -> None:
    words = ["--config", "recipes/tiny.yaml", "--data.root", "images"]
    place = ["--trainer.default_root_dir", "two_fit", "--trainer.limit_val_batches", "1.0"]
    # The recipe's only loss is about patches, so what concerns whole images gets no gradient.
    in_two_processes("fit", *words, *place, strategy="ddp_find_unused_parameters_true")
    two, one = (
        torch.load(Path(run, "checkpoints", "last.ckpt"), weights_only=True)
        for run in ("two_fit", "trained")
    )
    shapes = {name: values.shape for name, values in one["state_dict"].items()}
    assert {name: values.shape for name, values in two["state_dict"].items()} == shapes
    assert two["clad"]["threshold_source"] == one["clad"]["threshold_source"]


def test_a_recipe_that_learns_nothing_is_refused_in_two_processes(trained: list[str]) -> None:
    words = ["--config", "recipes/tiny.yaml", "--data.root", "images"]
    empty = [w for part in ("losses", "adapter", "prompts") for w in (f"--model.{part}", "null")]
    with pytest.raises(AssertionError, match=r"expected one process .* got 2; .*devices 1"):
        in_two_processes("fit", *words, *empty, "--trainer.default_root_dir", "none")
