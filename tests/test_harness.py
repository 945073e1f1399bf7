"""benchmarks/harness.py and child.py: turns, ratios, tables, verdicts, what a process took."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import harness
import machine
import pytest
from child import Child, run_command, run_function
from harness import Claim, Measured, Ratio, alternate, main_guard, ratio, report

from clad.version import __version__


def seconds_of(name: str, *seconds: float) -> Measured:
    return Measured(name, seconds)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    harness.add_arguments(parser)
    return parser.parse_args(words)


def test_rounds_alternate_and_turn_round() -> None:
    calls: list[str] = []
    found = alternate(3, {"peer": lambda: calls.append("p"), "clad": lambda: calls.append("c")})
    assert "".join(calls) == "pccppc"
    assert [len(row.seconds) for row in found.values()] == [3, 3]


def test_seconds_are_those_of_the_work() -> None:
    found = alternate(2, {"slow": lambda: time.sleep(0.03), "quick": lambda: None})
    assert all(0.03 <= value < 0.2 for value in found["slow"].seconds)
    assert found["slow"].median("cpu_seconds") < 0.02
    assert ratio(found["slow"], found["quick"]).value > 10


def test_a_way_may_return_values_or_what_a_process_took() -> None:
    process = Child(2.0, 1.5, 300.0, {"AUROC": 0.9})
    found = alternate(1, {"values": lambda: {"bank": 8000}, "process": lambda: process})
    assert found["values"].values == {"bank": 8000}
    assert found["values"].peak_mib == []
    row = found["process"]
    assert (row.seconds, row.cpu_seconds, row.peak_mib) == ([2.0], [1.5], [300.0])
    assert row.values == {"AUROC": 0.9}


def test_no_round_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 round, got 0; give --rounds"):
        alternate(0, {})


def test_ratio_is_the_median_of_each_round() -> None:
    found = ratio(seconds_of("peer", 10, 30, 8), seconds_of("clad", 1, 2, 4))
    assert found == Ratio(10, 2, 15)  # 10, 15, 2; the ratio of medians would be 5


def test_ratio_needs_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio(seconds_of("peer", 1, 2), seconds_of("clad", 1))


@pytest.mark.parametrize(
    ("claim", "is_reached"),
    [
        (Claim("", 40.0, at_least=40), True),
        (Claim("", 39.9, at_least=40), False),
        (Claim("", 1e-5, at_most=1e-5), True),
        (Claim("", 2e-5, at_most=1e-5), False),
        (Claim("", math.nan, at_least=1), False),
        (Claim("", Ratio(7, 1, 9), at_least=8), False),
        (Claim("", 3.0), True),
    ],
)
def test_verdict(claim: Claim, is_reached: bool) -> None:
    assert claim.is_reached is is_reached


def test_claim_says_ratio_limits_and_verdict() -> None:
    sentence = Claim("time, peer over clad", Ratio(51.26, 48, 55.5), at_least=40).sentence()
    assert sentence == "time, peer over clad: 51.3 x (48 to 55.5), claimed at least 40 x: reached"
    sentence = Claim("difference", 2e-5, at_most=1e-5, unit="").sentence()
    assert sentence == "difference: 2.00e-05, claimed at most 1.00e-05: missed"
    assert Claim("threads", 2.0, unit="").sentence() == "threads: 2"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (2000, "2,000"), (1234.5, "1,234"), (51.26, "51.3"), (5.126, "5.13"),
     (0.05126, "0.0513"), (0.00012, "1.20e-04"), (-3.14159, "-3.14"), (math.nan, "nan"),
     (math.inf, "inf")],
)  # fmt: skip
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert harness.number(value) == text


def test_report_prints_everything_and_fails_a_missed_claim(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["x/start_up.py", "--rounds", "2", "--json", str(path)])
    rows = [
        Measured("anomalib", [8.0, 10.0], {"AUPRO": 0.91234, "from": "2.7"}),
        Measured("clad", [0.1, 0.2], {"AUPRO": 0.9}),
    ]
    claims = [
        Claim("time", ratio(*rows), at_least=50),
        Claim("value", 0.01, at_most=1e-5, unit=""),
    ]
    status = report("Title", rows, claims, packages=["numpy", "no-such-thing"], wanted=parsed(
        "--json", str(path)), notes=["A note."])  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert [line.split() for line in lines[3:6]] == [
        ["s", "min", "to", "max", "AUPRO", "from"],
        ["anomalib", "9", "8", "to", "10", "0.912", "2.7"],
        ["clad", "0.150", "0.100", "to", "0.200", "0.900"],
    ]
    assert len({len(line) for line in lines[3:5]}) == 1, "columns are aligned"
    assert "A note." in lines
    assert any("cores" in line and "GiB" in line for line in lines)
    assert any("no-such-thing not installed" in line for line in lines)
    assert lines[-3].endswith("python benchmarks/start_up.py --rounds 2")
    assert lines[-2].endswith("claimed at least 50 x: reached")
    assert lines[-1].endswith("missed")
    facts = json.loads(path.read_text())
    assert [claim["is_reached"] for claim in facts["claims"]] == [True, False]
    assert facts["rows"][0]["seconds"] == [8.0, 10.0]
    assert facts["command"] == "python benchmarks/start_up.py --rounds 2"


def test_report_succeeds_when_all_is_reached_and_shows_what_rows_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [Measured("one", values={"a": 1.0, "b": 2.0}), Measured("two", values={"a": 3.0})]
    assert report("Title", rows, [Claim("memory", 12.0, at_least=10)], columns=["a"]) == 0
    printed = capsys.readouterr().out
    assert " a\none  1\ntwo  3\n" in printed
    assert "min to max" not in printed


def test_what_cannot_be_measured_is_said_and_no_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    assert harness.not_measured("Title", "no CUDA device", parsed("--json", str(path))) == 0
    assert capsys.readouterr().out == "Title\nnot measured: no CUDA device\n"
    assert json.loads(path.read_text())["not_measured"] == "no CUDA device"


@pytest.mark.parametrize(
    ("work", "status"),
    [(lambda: 0, 0), (lambda: 1, 1), (lambda: int("x"), 2), (lambda: [][0], None)],
)
def test_exit_status(
    work: Callable[[], int], status: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if status is None:  # our own mistake: with its traceback
        with pytest.raises(IndexError):
            main_guard(work)
        return
    with pytest.raises(SystemExit) as leaving:
        main_guard(work)
    assert leaving.value.code == status
    assert ("error: invalid literal" in capsys.readouterr().err) == (status == 2)


def test_process_is_measured_without_the_memory_of_this_one() -> None:
    ballast = bytearray(200 * 2**20)
    code = "import time; block = bytearray(64 * 2**20); time.sleep(0.1); print('done')"
    found = run_command([sys.executable, "-I", "-S", "-c", code])
    assert len(ballast) > 0
    assert found.output == "done\n"
    assert 0.1 < found.seconds < 5
    assert 0 < found.cpu_seconds < found.seconds
    assert 64 < found.peak_mib < 120, "64 MiB and an interpreter, not the ballast here"


def test_processor_seconds_are_counted() -> None:
    code = "import time\nwhile time.process_time() < 0.2: pass"
    assert run_command([sys.executable, "-I", "-S", "-c", code]).cpu_seconds >= 0.2


def test_failing_process_is_refused_with_its_last_words() -> None:
    with pytest.raises(ValueError, match=r"expected exit status 0 of .*, got 3:\nno luck"):
        run_command([sys.executable, "-I", "-S", "-c", "print('no luck'); raise SystemExit(3)"])
    with pytest.raises(FileNotFoundError, match="expected the program no_such_program"):
        run_command(["no_such_program"])


def test_function_in_a_process_returns_values(tmp_path: Path) -> None:
    (tmp_path / "some_work.py").write_text("def work(side, name):\n    return {name: side ** 2}\n")
    found = run_function("some_work:work", {"PYTHONPATH": str(tmp_path)}, side=12, name="pixels")
    assert found.values == {"pixels": 144}
    assert found.peak_mib > 5


def test_machine_and_versions() -> None:
    assert "cores" in machine.machine_line()
    versions = machine.versions_line(["pytest", "pytest"])
    assert versions.count("pytest ") == 1
    assert f", clad {__version__}, " in versions
