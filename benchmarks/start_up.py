"""How long the command line takes to answer: `clad --help` beside `anomalib --help`.

    python benchmarks/start_up.py [--rounds 5]

Whole processes, from their start to their end, in turn; each is run once before, so that files lie
in the system's cache for both and byte code is written. The claim holds for the clock and for the
processor. Below it, without a claim: a bare interpreter, `clad --version` and `clad fit --help`,
which has to import torch, as everything of anomalib's has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from child import Child, run_command
from harness import Claim, add_arguments, alternate, main_guard, ratio, report

CLAIM = "`clad --help` answers at least 25 times sooner than `anomalib --help`"
PEER = "anomalib --help"
NEEDS = ("anomalib",)

AT_LEAST = 25
_OURS = "clad --help"
_ROOT = Path(__file__).parents[1]


def program(name: str) -> list[str]:
    """The command as its package installs it beside this interpreter; `python -m` without that."""
    installed = Path(sys.executable).with_name(name)
    return [str(installed)] if installed.is_file() else [sys.executable, "-m", name]


def cold(*command: str) -> Callable[[], Child]:
    """A process of the command, from the root of the repository."""
    return lambda: run_command(command, cwd=_ROOT)


def main() -> int:
    """Print the table; 1 if the claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    add_arguments(parser)
    wanted = parser.parse_args()
    clad = program("clad")
    ways = {
        PEER: cold(*program("anomalib"), "--help"),
        _OURS: cold(*clad, "--help"),
        "clad --version": cold(*clad, "--version"),
        "clad fit --help": cold(*clad, "fit", "--help"),
        "python -c pass": cold(sys.executable, "-c", "pass"),
    }
    for work in ways.values():
        work()
    found = alternate(wanted.rounds, ways)
    peer, ours = found[PEER], found[_OURS]
    claims = [
        Claim("seconds, anomalib over clad", ratio(peer, ours), at_least=AT_LEAST),
        Claim(
            "seconds of processor, anomalib over clad",
            ratio(peer, ours, "cpu_seconds"),
            at_least=AT_LEAST,
        ),
    ]
    packages = ["anomalib", "torch", "lightning"]
    return report(CLAIM, found.values(), claims, packages=packages, wanted=wanted)


if __name__ == "__main__":
    main_guard(main)
