"""``clad bench``: what is claimed, and the script that measures it beside its peer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from clad.cli.bench_scripts import GPU, Script, expect_script, find_folder, find_scripts
from clad.cli.errors import DONE, FAILED, MISTAKE, Parser, UsageError

_ALL = "all"
_ROUNDS = "--rounds"
_VERDICTS = {DONE: "reached", FAILED: "missed"}


class _Wanted(NamedTuple):
    name: str | None
    options: list[str]
    folder: Path | None
    write: Path | None


def run(verb: str, arguments: list[str]) -> int:
    """List the claims, or measure one or all; 0 if reached, 1 if missed, 2 if it failed.

    Raises:
        FileNotFoundError: If there are no scripts.
        UsageError: If there is no such benchmark, or what it needs is not there.
    """
    wanted = _read(verb, arguments)
    if wanted is None:
        _parser(verb).print_help()
        return DONE
    scripts = find_scripts(find_folder(wanted.folder))
    if wanted.name is None:
        print(_list(scripts))
        return DONE
    if wanted.name == _ALL:
        return _run_all(scripts, wanted)
    script = expect_script(wanted.name, scripts)
    # A script without a GPU says so itself, and measures nothing.
    missing = [need for need in script.missing(wanted.options) if need != GPU]
    # A script asked for its options needs nothing else.
    if missing and not {"-h", "--help"} & set(wanted.options):
        raise UsageError(
            f"expected what {script.name} needs, got none of: {', '.join(missing)}; "
            "install or name it"
        )
    return _run_one(script, wanted.options, wanted.write)


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        usage=f"clad {verb} [--folder DIR] [--write DIR] [NAME | all] [options of the script]",
        description="List the claims of this project, or run the script that measures one beside "
        "its peer. The exit status is 0 if the claim was reached, 1 if it was missed, 2 if the "
        "script failed. `clad bench NAME --help` lists what a script takes.",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="a benchmark, or all")
    parser.add_argument("--folder", metavar="DIR", help="of the scripts, benchmarks/ of a clone")
    parser.add_argument(
        "--write", metavar="DIR", help="also put the result on this month's page there"
    )
    return parser


def _read(verb: str, arguments: Sequence[str]) -> _Wanted | None:
    """What was asked; None for help. Words after the name that are not ours are the script's."""
    own: dict[str, Path | None] = {"--folder": None, "--write": None}
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in own:
            others.append(word)
            continue
        given = value if equals else next(words, None)
        if not given:
            raise UsageError(f"expected a folder after {flag}, got nothing")
        own[flag] = Path(given)
    name = others[0] if others else None
    if name in ("-h", "--help"):
        return None
    if name is not None and name.startswith("-"):
        raise UsageError(
            f"expected the name of a benchmark before its options, got {name}; "
            f"`clad {verb}` lists the names"
        )
    return _Wanted(name, others[1:], own["--folder"], own["--write"])


def _list(scripts: Mapping[str, Script]) -> str:
    """Two lines per script: name and claim; peer and what it needs."""
    width = max(map(len, scripts))
    lines = []
    for name, script in scripts.items():
        missing = script.missing()
        needs = f"needs {', '.join(missing)}" if missing else "can run"
        beside = f"beside {script.peer}; " if script.peer else ""
        lines += [f"{name:<{width}}  {script.claim}", f"{'':<{width}}  {beside}{needs}"]
    return "\n".join([*lines, "", "clad bench NAME runs one, clad bench all runs what can run"])


def _run_all(scripts: Mapping[str, Script], wanted: _Wanted) -> int:
    """Each script in turn, then a line for each; the worst of their statuses."""
    if wanted.options and wanted.options[0].partition("=")[0] != _ROUNDS:
        raise UsageError(
            f"expected no option but {_ROUNDS} N beside {_ALL}, got {wanted.options[0]}; run the "
            "scripts one by one"
        )
    verdicts: dict[str, str] = {}
    worst = DONE
    for name, script in scripts.items():
        missing = script.missing()
        if missing:
            verdicts[name] = f"not run: needs {', '.join(missing)}"
            continue
        options = wanted.options if script.has_harness else []
        status = _run_one(script, options, wanted.write if script.has_harness else None)
        verdicts[name] = _VERDICTS.get(status, "failed") if script.has_harness else _ran(status)
        worst = max(worst, status)
    width = max(map(len, verdicts))
    print("\n" + "\n".join(f"{name:<{width}}  {verdict}" for name, verdict in verdicts.items()))
    return worst


def _ran(status: int) -> str:
    """Of a script without a number to reach."""
    return "ran" if status == DONE else "failed"


def _run_one(script: Script, options: Sequence[str], write: Path | None) -> int:
    """Run a script by this interpreter, with its output as it comes, and write its page."""
    if write is not None and not script.has_harness:
        raise UsageError(
            f"expected a benchmark that can be written, got {script.name}, which prints tables "
            "alone (it does not use benchmarks/harness.py); leave out --write"
        )
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory(prefix="clad_bench_") as scratch:
        facts = Path(scratch) / "facts.json"
        words = [sys.executable, str(script.path), *options]
        if write is not None:
            words += ["--json", str(facts)]
        sys.stdout.flush()
        code = subprocess.run(words, env=environment, check=False).returncode
        if write is not None and facts.is_file():
            from clad.reports.benchmark_page import update_page
            from clad.reports.files import read_json

            print(f"page: {update_page(write, script.name, script.claim, read_json(facts))}")
    return code if code in (DONE, FAILED) else MISTAKE
