"""A command or a function in a process of its own: seconds, processor seconds, peak memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HERE = Path(__file__).parent

# Linux hands the peak of whoever starts a program on to the program. So it is not this process,
# which may hold torch and a data set, that starts it, but a bare interpreter of about 10 MiB.
_LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime,
               usage.ru_maxrss], file)
"""
_CALLER = """
import importlib, json, sys
found = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])(**json.loads(sys.argv[4]))
with open(sys.argv[1], "w") as file:
    json.dump({} if found is None else dict(found), file)
"""
_KIB, _LAST_LINES = 1024, 15


@dataclass(frozen=True)
class Child:
    """What a finished process took.

    Args:
        seconds: From its start to its end.
        cpu_seconds: Of the processor, its own and of those processes that it waited for.
        peak_mib: Largest resident memory of the process or of the largest that it waited for (not
            their sum), in MiB.
        values: What the function returned; empty of a command.
        output: What it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    values: Mapping[str, float | str] = field(default_factory=dict)
    output: str = ""


def run_command(
    command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Child:
    """The command, cold, in its own process.

    Args:
        command: Program and its words.
        environment: Variables beside those of this process.
        cwd: Where it runs; None for here.

    Raises:
        FileNotFoundError: If there is no such program.
        ValueError: If its exit status is not 0, with its last lines.
    """
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(
            f"expected the program {command[0]}, found none on PATH; install its package"
        )
    with tempfile.TemporaryDirectory(prefix="child_") as scratch:
        facts = Path(scratch) / "facts.json"
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(facts)]
        done = subprocess.run(
            [*launcher, str(Path(program).absolute()), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
            cwd=cwd,
            check=False,
        )
        if not facts.is_file():
            raise ValueError(f"expected {command[0]} to start, got: {_tail(done.stdout)}")
        status, seconds, cpu_seconds, peak = json.loads(facts.read_text())
    if status:
        raise ValueError(
            f"expected exit status 0 of {' '.join(command)}, got {status}:\n{_tail(done.stdout)}"
        )
    unit = 1 if sys.platform == "darwin" else _KIB
    return Child(seconds, cpu_seconds, peak * unit / 2**20, output=done.stdout)


def run_function(
    place: str, environment: Mapping[str, str] | None = None, **arguments: object
) -> Child:
    """A function of a script of this folder, in a fresh interpreter; its dict becomes ``values``.

    Seconds and memory are those of the whole process, imports included; a function that shall be
    timed alone times itself and returns its seconds as a value.

    Args:
        place: ``module:function``, such as ``memory:test_ours``.
        environment: Variables beside those of this process.
        **arguments: Passed to the function; JSON must know them.
    """
    module, _, function = place.partition(":")
    paths = [str(_HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(paths), **(environment or {})}
    with tempfile.TemporaryDirectory(prefix="child_") as scratch:
        values = Path(scratch) / "values.json"
        words = [sys.executable, "-c", _CALLER, str(values), module, function]
        child = run_command([*words, json.dumps(arguments, default=str)], variables)
        found = json.loads(values.read_text())
    return Child(child.seconds, child.cpu_seconds, child.peak_mib, found, child.output)


def _tail(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-_LAST_LINES:])
