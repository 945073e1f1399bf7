"""report, download and demo: what they ask for and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clad.cli import demo
from clad.cli.demo import expect_packages, find_recipe
from clad.cli.main import main
from clad.reports.run_directory import read_run

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["report"], "required: RUN; `clad report --help` lists what it takes"),
        (["report", "nowhere"], "expected a run directory at nowhere, found none"),
        (["report", "."], "expected metrics.json in .; run `clad test` first"),
        (["download", "mvtec_ad"], "required: --root"),
        (["download", "imagenet", "--root=x"], "data sets mvtec_ad, visa, got 'imagenet'"),
        (["demo", "--slow"], "unrecognized arguments: --slow"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str],
    expected: str,
    said: Said,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    (line,) = said().splitlines()
    assert line.startswith("clad: error: ")
    assert expected in line


def test_download_passes_on_what_to_do_by_hand(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(name: str, root: Path) -> Path:
        raise ConnectionError(
            f"expected to fetch {name}, got no answer; put it into {root} by hand"
        )

    monkeypatch.setattr("clad.data.download.download", unreachable)
    assert main(["download", "visa", "--root", str(tmp_path)]) == 2
    assert said() == (
        f"clad: error: expected to fetch visa, got no answer; put it into {tmp_path} by hand\n"
    )


def test_download_says_what_is_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clad.data.download.download", lambda name, root: root)
    assert main(["download", "mvtec_ad", "--root=there"]) == 0
    assert capsys.readouterr().out == (
        "complete in there; next:\n"
        "  clad fit --config configs/recipes/clad_mvtec_ad.yaml --data.root there\n"
    )


def test_recipe_of_the_demo_is_looked_for_beside_the_package_and_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("clad_folder.yaml").is_file()
    with pytest.raises(FileNotFoundError, match=r"recipes/none\.yaml beside the package or here"):
        find_recipe("none.yaml")
    here = tmp_path / "configs" / "recipes" / "none.yaml"
    here.parent.mkdir(parents=True)
    here.touch()
    assert find_recipe("none.yaml").samefile(here)


def test_missing_packages_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if "elpv" in name else True)
    with pytest.raises(ImportError, match=r"elpv-dataset is missing; .*'clad-anomaly\[offline\]'"):
        expect_packages()
    monkeypatch.setattr(demo, "find_spec", lambda name: True)
    expect_packages()


@pytest.mark.slow
@pytest.mark.weights
def test_demo_trains_tests_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--fast", "--output", str(tmp_path / "demo")]) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert {"mono", "poly", "mean"} <= set(rows)
    run = read_run(tmp_path / "demo")
    assert run.evaluation.mean["image_auroc"] > 0.7
    assert {"build", "fit", "test"} <= set(run.card["seconds"])
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
    assert f"report: {tmp_path / 'demo' / 'report.html'}" in shown
