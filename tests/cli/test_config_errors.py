"""A mistake in a configuration is one sentence that names it and what is known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import write_part

from clad.cli.config_errors import Vocabulary, contract_of, explain, known_classes
from clad.cli.main import main

pytestmark = pytest.mark.usefixtures("workplace")


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["fit", "--config", "recipes/tiny.yaml", "--data.root=images", *words]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("clad: error: ")
    assert not Path("runs").exists() or not any(Path("runs/tiny").iterdir())
    return said.removeprefix("clad: error: ")


DICE = "clad.losses.patch_dice.PatchDice"
IN_FILES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (
        {"model": {"tower": {"class_path": "clad.towers.offline.OfflineTowr"}}},
        (
            "expected a class for model.tower, got 'clad.towers.offline.OfflineTowr'",
            "clad.towers.offline.OfflineTower, clad.towers.open_clip.OpenClipTower, ",
            "did you mean clad.towers.offline.OfflineTower?",
        ),
    ),
    (
        {"model": {"head": {"class_path": "no_such_module.Head"}}},
        ("for model.head, got 'no_such_module.Head'", "clad.heads.normal_memory.NormalMemory"),
    ),
    (
        {"model": {"losses": [{"class_path": f"{DICE}x"}]}},
        ("for model.losses, got", f"did you mean {DICE}?"),
    ),
    (
        {"model": {"tower": {"class_path": "clad.data.folder.Folder"}}},
        ("expected a Tower for model.tower, got clad.data.folder.Folder, which is none",),
    ),
    (
        {"model": {"tower": {"init_args": {"embed": 4}}}},
        ("init_args of fakes.FakeTower (model.tower)", "got 'embed'", "did you mean embed_dim?"),
    ),
    (
        {"model": {"losses": [{"class_path": DICE, "init_args": {"smoth": 1}}]}},
        (f"expected init_args of {DICE}", "resolution, smooth, weight", "got 'smoth'"),
    ),
    (
        {"model": {"towr": {"class_path": "fakes.FakeTower"}}},
        ("expected keys of model among adapter, ", "got 'towr'; did you mean tower?"),
    ),
    ({"data": {"image_siz": 64}}, ("expected keys of data among", "did you mean image_size?")),
    ({"trainer": {"max_epoch": 3}}, ("`clad fit --help` lists, got 'max_epoch'", "max_epochs?")),
    ({"modl": {"tower": None}}, ("expected top-level keys among", "got 'modl'; did you mean mode")),
    ({"data": {"image_size": "big"}}, ("data.image_size to be one of int, tuple[int, int], got",)),
    (
        {"model": {"tower": {"init_args": {"embed_dim": "x"}}}},
        ("expected model.tower.init_args.embed_dim to be int, got 'x'",),
    ),
    (
        {"data": {"root": "${oc.env:NO_SUCH_VARIABLE_HERE}"}},
        ("expected the environment variable NO_SUCH_VARIABLE_HERE for data.root, got none",),
    ),
    ({"data": {"seed": "${data.sed}"}}, ("expected ${data.sed} in data.seed to name a key",)),
    (
        {"model": {"optimizer": {"class_path": "torch.optim.AdamX"}}},
        ("expected a class for model.optimizer, got torch.optim.AdamX, which does not exist",),
    ),
]


@pytest.mark.parametrize(
    ("content", "parts"), IN_FILES, ids=[parts[0][:60] for _, parts in IN_FILES]
)
def test_mistake_in_a_file(
    workplace: Path,
    content: dict[str, Any],
    parts: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = write_part(workplace, "mistake", content)
    said = complaint_of_file(capsys, part)
    for expected in parts:
        assert expected in said


def complaint_of_file(capsys: pytest.CaptureFixture[str], part: Path) -> str:
    capsys.readouterr()
    assert main(["fit", "--config", "recipes/tiny.yaml", "--config", str(part)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    return said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.rot=x"], "got '--data.rot'; did you mean --data.root?"),
        (["--data.root=nowhere"], "expected data.root to be a folder, found nothing at nowhere"),
        (["--data.categories=[bottle]"], "expected category to be one of metal_nut, tile; got"),
        (["--data.train_batch_size=three"], "data.train_batch_size to be int, got 'three'"),
        (["--ckpt_path=gone.ckpt"], "expected a checkpoint at gone.ckpt, found nothing"),
        (["--ckpt_path=last"], "expected a checkpoint at runs/tiny/*/checkpoints/last.ckpt"),
        (["--trainer.accelerator=abacus"], "accelerator name: `accelerator='abacus'`"),
        (["--config=recipes/tny.yaml"], "found none; did you mean tiny.yaml?"),
        (["--model.head.init_args.size=0"], "size"),
    ],
)
def test_mistake_on_the_command_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in complaint(capsys, *words)


def test_nothing_given_asks_for_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "clad: error: expected a recipe, got no --config; name one, such as "
        "--config configs/recipes/clad_folder.yaml\n"
    )


def test_part_that_no_file_names_is_asked_for(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = write_part(workplace, "alone", {"data": {"source": "clad.data.folder.Folder"}})
    assert main(["fit", "--config", str(part), "--model.head=clad.heads.patch_text.PatchText"]) == 2
    said = capsys.readouterr().err
    assert "expected a value for model.tower, got none; name a recipe (configs/recipes/)" in said
    assert re.search(r"known are clad\.towers\..*clad\.towers\.offline\.OfflineTower,", said)


def test_checkpoint_of_something_else_is_refused(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0"}, workplace / "other.ckpt")
    assert "checkpoint" in complaint(capsys, "--ckpt_path=other.ckpt")


def test_missing_module_inside_a_class_is_named() -> None:
    message = (
        "Parser key \"model.tower\":\n  Problem with given class_path 'clad.towers.new.New':\n"
        "    No module named 'some_extra'"
    )
    said = explain(message, Vocabulary("clad fit", [], {}))
    assert said == (
        "expected the module some_extra for clad.towers.new.New (model.tower), found none; "
        "install it"
    )


def test_unknown_wording_passes_on_one_line() -> None:
    words = Vocabulary("clad fit", [], {})
    assert explain("Something\n  new.", words) == "Something new"


def test_known_classes_are_the_concrete_ones_of_the_slot() -> None:
    from clad.tasks.anomaly_task import AnomalyTask
    from clad.tuning.base import Tuning

    assert contract_of("model.tuning", {"model": AnomalyTask}) is Tuning
    known = known_classes(Tuning)
    assert known == sorted(known)
    assert {"clad.tuning.frozen.Frozen", "clad.tuning.full.Full"} <= set(known)
    assert "clad.tuning.base.Tuning" not in known
    assert contract_of("model.optimizer", {"model": AnomalyTask}) is None
    assert contract_of("trainer.logger", {"model": AnomalyTask}) is None
