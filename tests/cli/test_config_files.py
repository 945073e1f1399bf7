"""Which files a command names, and what is said of bad ones before anything slow is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from clad.cli.config_files import NAMELESS, check_files, files_first, named_files, recipe_name
from clad.cli.errors import UsageError


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], []),
        (["--config", "a.yaml", "--data.root", "d", "--config=b.yaml"], ["a.yaml", "b.yaml"]),
        (["-c", "a.yaml"], ["a.yaml"]),
        (["--print_config", "--configs", "x"], []),
    ],
)
def test_files_are_found_among_the_words(words: list[str], names: list[str]) -> None:
    assert named_files(words) == [Path(name) for name in names]


def test_options_come_after_all_files() -> None:
    words = ["--a=1", "--config", "x.yaml", "--b", "2", "-c=y.yaml", "--c"]
    files = ["--config", "x.yaml", "--config", "y.yaml"]
    assert files_first(words) == [*files, "--a=1", "--b", "2", "--c"]


def test_flag_without_a_file_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a file after --config, got nothing"):
        named_files(["--data.root", "d", "--config"])


@pytest.mark.parametrize(
    ("names", "recipe"),
    [
        ([], NAMELESS),
        (["a.yaml", "b.yaml"], "a"),
        (["configs/data/folder.yaml", "configs/recipes/clad_visa.yaml"], "clad_visa"),
        (["recipes/one.yaml", "recipes/two.yaml"], "one"),
        (["runs/clad_folder/20260102-030405/config.yaml"], "clad_folder"),
        (["config.yaml", "recipes/one.yaml"], "one"),
    ],
)
def test_recipe_is_named_after_its_file(names: list[str], recipe: str) -> None:
    assert recipe_name([Path(name) for name in names]) == recipe


def test_good_files_pass(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("data:\n  root: ${oc.env:NOT_SET_YET}\n")
    check_files([path])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sollar.yaml", r"sollar\.yaml, found none; did you mean solar\.yaml\?"),
        ("zzz.yaml", r"zzz\.yaml, found none; check the path"),
        ("gone/solar.yaml", r"solar\.yaml, found none; there is no folder .*gone seen from"),
        ("", r"found a folder; name a file in it"),
    ],
)
def test_missing_file_is_named(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "solar.yaml").write_text("a: 1")
    with pytest.raises(FileNotFoundError, match=r"expected a configuration file at .*" + hint):
        check_files([tmp_path / name])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: [1", r"expected YAML in .*bad\.yaml, got a mistake in line 1, column \d+: .*correct"),
        ("a: 1\n b: 2", r"got a mistake in line 2, column 3: mapping values are not allowed"),
        ("- a", r"expected keys such as `model:`.*bad\.yaml, got a list"),
        ("", r"bad\.yaml, got nothing"),
        ("words", r"bad\.yaml, got a str"),
    ],
)
def test_broken_file_is_refused_with_the_place(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=match):
        check_files([path])
