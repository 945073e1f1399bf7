"""clad compare: finished runs, from words to tables and files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from run_directories import Files, write_tiny_run
from tiny_recipe import clad

# Normal images score 0 to 3; the better run ranks every anomalous one above them.
NORMAL: Files = {f"nut/good/{n}.png": (0, float(n)) for n in range(4)}
WORSE: Files = {**NORMAL, **{f"nut/bent/{n}.png": (1, n + 0.5) for n in range(4)}}
BETTER: Files = {**NORMAL, **{f"nut/bent/{n}.png": (1, n + 4.5) for n in range(4)}}


@pytest.fixture
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_run(Path("a"), WORSE, root="/here", thresholds={"nut": 2.0})
    write_tiny_run(Path("b"), BETTER, root="/there/parts", thresholds={"nut": 4.0}, seed=1)
    write_tiny_run(Path("c"), {**BETTER, "nut/bent/9.png": (1, 9.0)}, root="/there/parts")


@pytest.mark.usefixtures("_runs")
def test_tables_by_hand() -> None:
    shown = clad("compare", "a", "b", "--resamples=100")
    assert shown.status == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[:2] == ["A: a", "B: b"]
    assert "4 normal and 4 anomalous test images" in lines
    assert "warning: the seeds differ: 0 / 42 and 1 / 42" in lines
    # Anomalous n + 0.5 beats n + 1 of 4 normal ones: 10 of 16 pairs.
    row = lines[lines.index("image_auroc") + 3].split()
    assert row[:4] == ["nut", "0.625", "1.000", "+0.375"]
    # A calls 2, 3 and 2.5, 3.5 anomalous: half of each kind right. B is right on all.
    verdicts = next(n for n, line in enumerate(lines) if line.startswith("verdicts"))
    assert lines[verdicts + 3].split() == ["nut", "8", "4", "8", "0", "4", "0.125"]
    assert "clad fit --seeds" in lines[-1]
    assert "Holm" not in shown.out


@pytest.mark.usefixtures("_runs")
def test_results_are_written_as_asked() -> None:
    shown = clad("compare", "a", "b", "--resamples", "50", "--output", "found.json")
    assert shown.out.splitlines()[-1] == "results: found.json"
    stored = json.loads(Path("found.json").read_text())
    assert stored["command"] == "clad compare a b --resamples 50 --output found.json"
    assert stored["runs"] == {"A": "a", "B": "b"}
    assert stored["num_resamples"] == 50
    (comparison,) = stored["comparisons"]
    first = comparison["metrics"][0]
    assert (first["metric"], first["category"], first["first"]) == ("image_auroc", "nut", 0.625)
    assert comparison["verdicts"][0]["only"] == [0, 4]
    assert clad("compare", "a", "b", "--output=found.md", "--resamples=50").status == 0
    page = Path("found.md").read_text()
    assert "- A: a" in page
    assert "| nut | 0.625 | 1.000 | +0.375 |" in page


@pytest.mark.usefixtures("_runs")
def test_common_images_alone() -> None:
    shown = clad("compare", "a", "c", "--common", "--resamples=50")
    assert shown.status == 0, shown.err
    assert "left out: 0 only in A, 1 only in B; numbers are not those of metrics.json" in shown.out


@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a",), r"expected 2 to 26 run directories, got 1; the first is what the others"),
        (("a", "c"), r"got 0 only in a and 1 only in c; pass --common to compare on the 8 that"),
        (("a", "gone"), r"expected a run directory at gone, found none"),
        (("a", "b", "--output=x.csv"), r"expected --output to end in \.json or \.md, got x\.csv"),
        (("a", "b", "--output=no/x.md"), r"expected a folder for --output at no, found none"),
        (("a", "b", "--resamples=0"), r"expected num_resamples >= 1, got 0"),
        ((), r"the following arguments are required: RUN"),
    ],
)
def test_mistakes_are_answered(words: tuple[str, ...], message: str) -> None:
    found = clad("compare", *words)
    assert found.status == 2
    assert re.search(message, found.err), found.err
