"""clad bench: claims read without importing, scripts run as they are, pages renewed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import check_docs
import pytest
from tiny_recipe import Shown, clad

from clad.cli import bench_scripts
from clad.cli.bench_scripts import find_folder, find_scripts
from clad.cli.errors import UsageError
from clad.cli.main import main

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"

FAST = """
import argparse, sys
sys.path.insert(0, {benchmarks!r})
from harness import Claim, Measured, add_arguments, main_guard, report
CLAIM = "ours is twice as fast"
PEER = "theirs"
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=float, default=3.0)
    add_arguments(parser, rounds=2)
    wanted = parser.parse_args()
    rows = [Measured("theirs", [wanted.times] * wanted.rounds), Measured("clad", [1.0])]
    return report(CLAIM, rows, [Claim("time", wanted.times, at_least=2)], wanted=wanted)
if __name__ == "__main__":
    main_guard(main)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scripts"
    made.mkdir()
    (made / "fast.py").write_text(FAST.format(benchmarks=str(BENCHMARKS)))
    (made / "helper.py").write_text("raise RuntimeError('helpers are not run')\n")
    (made / "needy.py").write_text(
        'raise RuntimeError\nCLAIM = "a claim"\nNEEDS = ("numpy", "no_such.module", "data")\n'
    )
    (made / "table.py").write_text('CLAIM = "a table"\nprint("rows")\n')
    return made


def bench(folder: Path, *words: str | Path) -> Shown:
    return clad("bench", f"--folder={folder}", *words)


# What there is


def test_list_names_claims_peers_and_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLAD_BENCHMARK_DATA", raising=False)
    shown = bench(folder)
    assert shown.status == 0, shown.err
    assert shown.out.splitlines()[:6] == [
        "fast   ours is twice as fast",
        "       beside theirs; can run",
        "needy  a claim",
        "       needs no_such.module, data (--data DIR or CLAD_BENCHMARK_DATA)",
        "table  a table",
        "       can run",
    ]


def test_data_is_there_by_option_or_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = find_scripts(folder)["needy"]
    monkeypatch.delenv("CLAD_BENCHMARK_DATA", raising=False)
    assert len(script.missing()) == 2
    assert script.missing(["--data=there"]) == ["no_such.module"]
    assert script.missing(["--data", "there"]) == ["no_such.module"]
    monkeypatch.setenv("CLAD_BENCHMARK_DATA", "there")
    assert script.missing() == ["no_such.module"]


def test_a_gpu_is_looked_for_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels.py").write_text('CLAIM = "fast kernels"\nNEEDS = ("gpu",)\n')
    (script,) = find_scripts(tmp_path).values()
    monkeypatch.setattr(bench_scripts, "_GPU_DEVICES", (tmp_path / "none",))
    assert script.missing() == ["a GPU"]
    monkeypatch.setattr(bench_scripts, "_GPU_DEVICES", (tmp_path,))
    assert script.missing() == []


def test_every_script_of_the_repository_has_a_claim_and_a_row() -> None:
    scripts = find_scripts(find_folder(None))
    runnable = {
        path.stem
        for path in BENCHMARKS.glob("*.py")
        if '\nif __name__ == "__main__"' in path.read_text()
    }
    assert set(scripts) == runnable
    table = (BENCHMARKS / "README.md").read_text()
    for script in scripts.values():
        assert f"`{script.name}`" in table, f"benchmarks/README.md has no row for {script.name}"
        assert not script.claim.endswith("."), script.name
        summary = ast.get_docstring(ast.parse(script.path.read_text()))
        assert summary is not None
        assert f"python benchmarks/{script.path.name}" in summary


def test_bench_imports_no_torch() -> None:
    code = (
        "import sys; from clad.cli.main import main; status = main(['bench'])\n"
        "assert status == 0 and not {'torch', 'numpy', 'yaml'} & set(sys.modules), 'slow imports'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_an_installed_package_says_where_benchmarks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "benchmarks").mkdir()  # another package's
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench_scripts, "__file__", str(tmp_path / "clad" / "cli" / "x.py"))
    with pytest.raises(FileNotFoundError, match=r"run this in a clone of it, or name one with --f"):
        find_folder(None)


# Mistakes


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fist"], r"expected one of the benchmarks .*, got 'fist'; did you mean fast\?"),
        (["--rounds", "3", "fast"], "expected the name of a benchmark before its options"),
        (["fast", "--write"], "expected a folder after --write, got nothing"),
        (["needy"], "expected what needy needs, got none of: no_such.module, data"),
        (["table", "--write=pages"], "table, which prints tables alone .* leave out --write"),
        (["all", "--images=3"], "expected no option but --rounds N beside all, got --images=3"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLAD_BENCHMARK_DATA", raising=False)
    shown = bench(folder, *words)
    assert shown.status == 2
    assert re.search(sentence, shown.err), shown.err


def test_a_declaration_has_to_be_a_literal(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text("CLAIM = str(3)\n")
    with pytest.raises(UsageError, match=r"expected a literal for CLAIM .* got str\(3\)"):
        find_scripts(tmp_path)
    (tmp_path / "made.py").write_text('CLAIM = "a"\nNEEDS = "numpy"\n')
    with pytest.raises(UsageError, match="a tuple for NEEDS"):
        find_scripts(tmp_path)
    (tmp_path / "made.py").write_text("")
    with pytest.raises(UsageError, match="found none; name the folder benchmarks/ of a clone"):
        find_scripts(tmp_path)


# Running


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--times=1.5"], 1), (["--what"], 2)])
def test_status_is_that_of_the_script(
    folder: Path, options: list[str], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench(folder, "fast", *options).status == status
    printed = capfd.readouterr()
    if status < 2:
        assert ("claimed at least 2 x: reached" in printed.out) == (status == 0)
    else:
        assert "unrecognized arguments: --what" in printed.err


def test_help_after_the_name_is_the_scripts(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench(folder, "fast", "--help").status == 0
    assert "--times" in capfd.readouterr().out
    assert "usage: clad bench" in bench(folder, "--help").out


def test_all_runs_what_can_run(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLAD_BENCHMARK_DATA", raising=False)
    shown = bench(folder, "all", "--rounds", "1")
    assert shown.status == 0
    assert shown.out.splitlines()[-3:] == [
        "fast   reached",
        "needy  not run: needs no_such.module, data (--data DIR or CLAD_BENCHMARK_DATA)",
        "table  ran",
    ]
    printed = capfd.readouterr().out
    assert "rows\n" in printed
    assert "fast.py --rounds 1\n" in printed


def test_written_page_has_command_table_and_verdict(folder: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    shown = bench(folder, "fast", f"--write={pages}", "--times", "4")
    assert shown.status == 0, shown.err
    (page,) = pages.iterdir()
    assert shown.out.endswith(f"page: {page}\n")
    text = page.read_text()
    assert "## fast\n\nours is twice as fast.\n" in text
    assert "```bash\npython benchmarks/fast.py --times 4\n```" in text
    assert "| theirs | 4 | 4 to 4 |" in text
    assert "- time: 4 x, claimed at least 2 x: **reached**" in text


def test_example_of_the_documentation_works(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs/benchmarking.md").read_text()
    (block,) = [body for _, language, body in check_docs.fences(text) if language == "python"]
    (tmp_path / "my_claim.py").write_text(block)
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    assert bench(tmp_path, "my_claim", "--rounds", "3").status in (0, 1), "whatever the ratio is"
    printed = capfd.readouterr().out
    assert "numbers in no order" in printed
    assert re.search(r"^seconds: .*, claimed at least 2 x: (reached|missed)$", printed, re.M)


def test_a_script_that_lacks_only_a_gpu_says_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = 'CLAIM = "fast kernels"\nNEEDS = ("gpu",)\nprint("not measured: no GPU")\n'
    (tmp_path / "kernels.py").write_text(text)
    monkeypatch.setattr(bench_scripts, "_GPU_DEVICES", (tmp_path / "none",))
    assert main(["bench", "--folder", str(tmp_path), "kernels"]) == 0
    assert capfd.readouterr().out == "not measured: no GPU\n"
