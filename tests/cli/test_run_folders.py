"""Names of run directories and what ``--ckpt_path`` means."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from clad.cli.errors import UsageError
from clad.cli.run_folders import (
    create_run_dir,
    find_checkpoint,
    last_checkpoint,
    remove_if_empty,
    run_of,
)

NOON = datetime(2026, 1, 2, 12, 0, 0)


def write_checkpoint(run_dir: Path, age_s: int = 0) -> Path:
    path = last_checkpoint(run_dir)
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
    return path


def test_name_is_recipe_and_time(tmp_path: Path) -> None:
    made = create_run_dir("clad_solar", NOON, tmp_path)
    assert made == tmp_path / "clad_solar" / "20260102-120000"
    assert made.is_dir()


def test_runs_of_one_second_do_not_meet(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_run_dir("r", NOON, tmp_path), range(24)))
    names = sorted(path.name for path in made)
    suffixes = ["", *(f"-{count}" for count in range(2, 25))]
    assert names == sorted("20260102-120000" + suffix for suffix in suffixes)


def test_only_empty_directories_are_taken_back(tmp_path: Path) -> None:
    empty, full = create_run_dir("r", NOON, tmp_path), create_run_dir("r", NOON, tmp_path)
    (empty / "training" / "none").mkdir(parents=True)
    (full / "config.yaml").touch()
    for path in (empty, full, tmp_path / "absent"):
        remove_if_empty(path)
    assert not empty.exists()
    assert full.is_dir()


def test_checkpoint_by_file_or_run_directory(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "run")
    assert find_checkpoint(str(path), None, "r") == path
    assert find_checkpoint(str(tmp_path / "run"), None, "r") == path


def test_last_is_the_newest_of_the_recipe(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "r" / "20260102-000000", age_s=60)
    newest = write_checkpoint(tmp_path / "r" / "20260101-000000", age_s=10)  # was continued
    write_checkpoint(tmp_path / "other" / "20260103-000000")
    create_run_dir("r", NOON, tmp_path)  # a test run, without weights
    assert find_checkpoint("last", None, "r", tmp_path) == newest


def test_last_of_a_named_run_directory(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "r" / "new")
    old = write_checkpoint(tmp_path / "r" / "old", age_s=60)
    assert find_checkpoint("last", tmp_path / "r" / "old", "r", tmp_path) == old


def test_missing_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"at .*r/\*/checkpoints/last\.ckpt, found none; tr"
    ):
        find_checkpoint("last", None, "r", tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"nope\.ckpt, found nothing; train with `clad fit`"
    ):
        find_checkpoint(str(tmp_path / "nope.ckpt"), None, "r")
    with pytest.raises(FileNotFoundError, match=r"found a folder without checkpoints/last\.ckpt"):
        find_checkpoint(str(tmp_path), None, "r")
    path = write_checkpoint(tmp_path / "run")
    with pytest.raises(
        FileNotFoundError, match=r"first\.ckpt, found nothing; that folder has last"
    ):
        find_checkpoint(str(path.with_name("first.ckpt")), None, "r")


def test_best_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"got `best`; runs keep one checkpoint, the last"):
        find_checkpoint("best", None, "r")


def test_run_of_a_checkpoint_needs_its_configuration(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "run")
    assert run_of(path) is None
    (tmp_path / "run" / "config.yaml").touch()
    assert run_of(path) == tmp_path / "run"
    assert run_of(tmp_path / "elsewhere" / "last.ckpt") is None
