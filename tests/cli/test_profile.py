"""``--profile``: slow parts land in their rows, rows add up to the wall time and are kept."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import FakeTower
from lightning.pytorch.profilers import SimpleProfiler
from tiny_recipe import Shown, clad, write_part

import clad.data.dataset as dataset_module
from clad.cli import stages
from clad.cli.profile import earlier_profiles, profile_text
from clad.heads.normal_memory import NormalMemory
from clad.tasks import evaluation_steps

NUM_TEST = 18
"""Images of the two tiny categories; all in one batch."""
CONFIG = ("--config", "recipes/tiny.yaml", "--data.root", "images")


@pytest.fixture(scope="module")
def run_dir(workplace: Path) -> Path:
    shown = clad("fit", *CONFIG, "--trainer.default_root_dir=run", "--profile")
    assert shown.status == 0, shown.err
    (workplace / "run" / "shown.txt").write_text(shown.out)
    return workplace / "run"


def slowed(work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds)
        return work(*args, **kwargs)

    return slow


def profile_of(run_dir: Path, stage: str) -> dict[str, Any]:
    return json.loads((run_dir / "run.json").read_text())["profile"][stage]


def again(run_dir: Path, *words: str, verb: str = "test") -> Shown:
    shown = clad(verb, f"--ckpt_path={run_dir}", f"--trainer.default_root_dir={run_dir}", *words)
    assert shown.status == 0, shown.err
    return shown


def test_seconds_land_in_the_row_of_what_was_slow(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {
        (dataset_module, "open_rgb"): 0.005,
        (FakeTower, "encode_pixels"): 0.15,
        (NormalMemory, "forward"): 0.1,
        (evaluation_steps, "evaluate"): 0.12,
        (stages, "write_test_results"): 0.08,
    }
    again(run_dir)  # imports what only testing needs
    for (owner, name), seconds in slow.items():
        monkeypatch.setattr(owner, name, slowed(getattr(owner, name), seconds))
    began = time.perf_counter()
    shown = again(run_dir, "--profile")
    wall = time.perf_counter() - began
    facts = profile_of(run_dir, "test")
    rows = facts["seconds"]
    for row, seconds in (
        ("decode", NUM_TEST * 0.005), ("encode", 0.15), ("head", 0.1), ("metrics", 0.12),
        ("write", 0.08),
    ):  # fmt: skip
        assert seconds <= rows[row] < seconds + 2, row
    assert max(rows["wait for data"], rows["transfer"], rows["words"]) < 1
    card = json.loads((run_dir / "run.json").read_text())
    assert sum(rows.values()) == pytest.approx(facts["total"], abs=0.01)
    assert card["seconds"]["test"] < facts["total"] < wall, "the stage, and what it wrote"
    assert facts["total"] == pytest.approx(card["seconds"]["test"] + rows["write"], rel=0.1)
    assert facts["num_workers"] == 0
    printed = re.findall(r"^(\w[\w ]*?)  +(\d+\.\d\d)  +(\d+\.\d)%$", shown.out, re.MULTILINE)
    assert {row: float(took) for row, took, _ in printed} == pytest.approx(rows, abs=0.0051)
    assert sum(float(share) for *_, share in printed) == pytest.approx(100, abs=0.5)


def test_decoding_in_workers_is_beside_the_rest(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = slowed(dataset_module.open_rgb, 0.02)
    monkeypatch.setattr(dataset_module, "open_rgb", slow)
    shown = again(run_dir, "--profile", "--data.num_workers=1", "--data.test_batch_size=6")
    facts = profile_of(run_dir, "test")
    assert facts["num_workers"] == 1
    assert "decode" not in facts["seconds"]
    assert facts["decode_beside"] >= NUM_TEST * 0.02
    assert facts["seconds"]["wait for data"] > 0.1, "there is little else to do meanwhile"
    beside = f"decode, in 1 loader process beside all this: {facts['decode_beside']:.2f} s in sum"
    assert beside in shown.out


def test_training_and_prediction_have_rows_of_their_own(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = profile_of(run_dir, "fit")["seconds"]
    assert {"decode", "encode", "words", "losses", "backward", "optimiser", "head", "write"} <= set(
        rows
    )
    assert "seconds of fit" in (run_dir / "shown.txt").read_text()
    writer = stages.PredictionWriter
    monkeypatch.setattr(writer, "finish", slowed(writer.finish, 0.2))
    again(run_dir, "--profile", verb="predict")
    assert profile_of(run_dir, "predict")["seconds"]["write"] >= 0.2
    assert profile_of(run_dir, "fit")["seconds"] == rows, "an earlier stage keeps its profile"


def test_without_the_option_nothing_is_measured_or_kept(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: Any) -> None:
        raise AssertionError("expected no stopwatch")

    monkeypatch.setattr("clad.cli.profile.Stopwatch", made)
    monkeypatch.setattr("clad.data.clock.LoadingClock.loader", made)
    shown = again(run_dir)
    assert "seconds of" not in shown.out
    assert "test" not in json.loads((run_dir / "run.json").read_text()).get("profile", {})
    assert "profile" not in yaml.safe_load((run_dir / "config.yaml").read_text())


def test_a_second_profiler_is_refused(run_dir: Path) -> None:
    part = write_part(run_dir, "profiler", {"trainer": {"profiler": "simple"}})
    config = run_dir / "config.yaml"
    shown = clad(
        "test", "--config", config, "--config", part, f"--ckpt_path={run_dir}", "--profile"
    )
    assert shown.status == 2
    assert f"trainer.profiler {SimpleProfiler.__name__}; leave one of them out" in shown.err


def test_table_aligns_and_adds_up() -> None:
    facts = {
        "seconds": {"decode": 1.0, "other": 3.0},
        "total": 4.0, "num_workers": 0, "decode_beside": 0.0,
    }  # fmt: skip
    assert profile_text("test", facts).splitlines() == [
        "seconds of test     s  share",
        "----------------------------",
        "decode           1.00  25.0%",
        "other            3.00  75.0%",
        "----------------------------",
        "total            4.00       ",
    ]


def test_a_stage_run_again_loses_its_old_profile() -> None:
    card = {"profile": {"fit": {"total": 1}, "test": {"total": 2}}}
    assert earlier_profiles(card, {"build": 1.0, "test": 1.0}) == {"profile": {"fit": {"total": 1}}}
    assert earlier_profiles({}, {"test": 1.0}) == {}
