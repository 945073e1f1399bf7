"""The light part of the command: help, version, unknown verbs, and what an error looks like."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from clad.cli.errors import InterruptedRunError, Parser, UsageError, guarded, one_sentence
from clad.cli.main import VERBS, main
from clad.version import __version__

ROOT = Path(__file__).parents[2]
MEASURES = ("matrix", "cross", "robustness", "lint")
HEAVY = {"torch", "lightning", "numpy", "jsonargparse", "omegaconf", "PIL", "matplotlib", "yaml"}


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, *words]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [["--help"], ["-h"], [], ["--version"], ["fti"]])
def test_quick_answers_import_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; from clad.cli.main import main; status = main(sys.argv[1:]); "
        "print('loaded', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    shown = run_python("-c", program, *words)
    assert shown.returncode == 0, shown.stderr
    loaded = set(shown.stdout.splitlines()[-1].split()[1:])
    assert "clad" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "verb",
    ["score", "report", "demo", "download", "ablate", "faces", "forge", "compare", *MEASURES],
)
def test_help_of_light_verbs_imports_no_torch(verb: str) -> None:
    program = (
        "import sys; from clad.cli.main import main; status = main(sys.argv[1:]); "
        "print(status, 'torch' in sys.modules)"
    )
    shown = run_python("-c", program, verb, "--help")
    assert shown.stdout.splitlines()[-1] == "0 False", shown.stderr
    assert f"usage: clad {verb}" in shown.stdout


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = re.findall(r"^  ([a-z]+)  ", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(VERBS)
    for verb in VERBS.values():
        assert find_spec(f"clad.cli.{verb.module}") is not None


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"clad {__version__}\n"


def test_module_runs_as_the_command() -> None:
    shown = run_python("-m", "clad", "--version")
    assert (shown.returncode, shown.stdout) == (0, f"clad {__version__}\n")


@pytest.mark.parametrize(
    ("verb", "hint"), [("tset", "; did you mean test?"), ("reprot", "; did you mean report?")]
)
def test_unknown_verb_names_the_closest(
    verb: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb]) == 2
    message = capsys.readouterr().err
    assert message == (
        f"clad: error: expected one of the verbs {', '.join(VERBS)}, got {verb!r}{hint}\n"
    )


def test_unknown_verb_without_a_close_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 2
    assert capsys.readouterr().err.endswith("got 'xyzzy'\n")


def raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("expected a,\n  got b."), 2, "clad: error: expected a, got b\n"),
        (FileNotFoundError("no folder"), 2, "clad: error: no folder\n"),
        (ImportError("no package"), 2, "clad: error: no package\n"),
        (ConnectionError("no answer"), 2, "clad: error: no answer\n"),
        (ValueError(), 2, "clad: error: ValueError\n"),
        (KeyboardInterrupt(), 130, "clad: interrupted\n"),
        (InterruptedRunError("kept in x"), 130, "clad: interrupted; kept in x\n"),
    ],
)
def test_mistakes_become_one_sentence(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: raising(error)) == status
    assert capsys.readouterr().err == said


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(AttributeError):
        guarded(lambda: raising(AttributeError("a bug")))


@pytest.mark.parametrize(("value", "is_shown"), [("1", True), ("0", False), ("", False)])
def test_traceback_on_request(
    value: str,
    is_shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLAD_DEBUG", value)
    assert guarded(lambda: raising(ValueError("no"))) == 2
    message = capsys.readouterr().err
    assert ("Traceback" in message) == is_shown
    assert message.endswith("clad: error: no\n")


def test_sentences_stay_on_one_line() -> None:
    assert one_sentence(" a\n\n  b\tc. ") == "a b c"


def test_error_of_a_loader_process_is_its_last_sentence() -> None:
    from torch._utils import ExceptionWrapper

    try:
        try:
            raise OSError("cannot read: x.png")
        except OSError as cause:
            raise ValueError("expected an image: got none in x.png; copy it again") from cause
    except ValueError:
        passed_on = ExceptionWrapper(where="in DataLoader worker process 3")
    with pytest.raises(ValueError, match="Traceback") as caught:
        passed_on.reraise()
    said = one_sentence(str(caught.value))
    assert said == "expected an image: got none in x.png; copy it again"


def test_parser_raises_its_complaints() -> None:
    parser = Parser(prog="clad report")
    parser.add_argument("run")
    with pytest.raises(UsageError, match=r"required: run; `clad report --help` lists"):
        parser.parse_args([])
