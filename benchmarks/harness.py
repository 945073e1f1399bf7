"""What the scripts of this folder share: peer and ours in turn, one table, claims, exit status.

    def main() -> int:
        parser = argparse.ArgumentParser(description=CLAIM)
        add_arguments(parser)
        wanted = parser.parse_args()
        found = alternate(wanted.rounds, {"anomalib": theirs, "clad": ours})
        faster = Claim("time", ratio(found["anomalib"], found["clad"]), at_least=40)
        return report(CLAIM, found.values(), [faster], wanted=wanted, packages=["anomalib"])

    if __name__ == "__main__":
        main_guard(main)

The exit status is 0 if every claim was reached, 1 if one was missed, 2 after an error. Nothing here
imports torch.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, NoReturn

from child import Child
from machine import machine_line, versions_line

REACHED, MISSED, BROKEN, INTERRUPTED = 0, 1, 2, 130
Quantity = Literal["seconds", "cpu_seconds", "peak_mib"]
_QUANTITIES: dict[Quantity, str] = {"seconds": "s", "cpu_seconds": "CPU s", "peak_mib": "peak MiB"}


@dataclass(frozen=True)
class Measured:
    """A row of the table.

    Args:
        name: Of the row; the same of two rows would hide one.
        seconds: By the clock, one per round; empty where time is not the matter.
        values: Further cells by column: numbers, or words that are printed as they are.
        cpu_seconds: Of the processor, one per round; other work on the machine hardly changes them.
        peak_mib: Largest memory of the child process, one per round; empty within this process.
    """

    name: str
    seconds: Sequence[float] = ()
    values: Mapping[str, float | str] = field(default_factory=dict)
    cpu_seconds: Sequence[float] = ()
    peak_mib: Sequence[float] = ()

    def median(self, of: Quantity = "seconds") -> float:
        """Median over the rounds."""
        return statistics.median(getattr(self, of))

    def spread(self, of: Quantity = "seconds") -> tuple[float, float]:
        """Smallest and largest of the rounds."""
        return min(getattr(self, of)), max(getattr(self, of))


@dataclass(frozen=True)
class Ratio:
    """Median of ratios that were taken round by round, and their smallest and largest."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Claim:
    """What a script says, and what it found.

    Args:
        text: What was measured, such as ``time, anomalib over clad``.
        measured: The number found.
        at_least: Smallest that reaches the claim, or None.
        at_most: Largest that reaches it, or None. Without either, the number is only shown.
        unit: Behind numbers; ``x`` for ratios.
    """

    text: str
    measured: Ratio | float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "x"

    @property
    def value(self) -> float:
        """The number that is compared."""
        return self.measured.value if isinstance(self.measured, Ratio) else self.measured

    @property
    def is_reached(self) -> bool:
        """Whether it holds; never for NaN."""
        low = -float("inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return low <= self.value <= high

    def sentence(self) -> str:
        """A line that says all of it."""
        found = f"{number(self.value)} {self.unit}".rstrip()
        if isinstance(self.measured, Ratio):
            found += f" ({number(self.measured.low)} to {number(self.measured.high)})"
        asked = [
            f"{words} {number(limit)} {self.unit}".rstrip()
            for words, limit in (("at least", self.at_least), ("at most", self.at_most))
            if limit is not None
        ]
        if not asked:
            return f"{self.text}: {found}"
        verdict = "reached" if self.is_reached else "missed"
        return f"{self.text}: {found}, claimed {' and '.join(asked)}: {verdict}"


def alternate(rounds: int, ways: Mapping[str, Callable[[], object]]) -> dict[str, Measured]:
    """Each way once per round, in turn; every other round in the opposite order.

    A way that returns a ``Child`` is measured by what that process took; one that returns a
    mapping has it as values of its row (of the last round). Anything else is dropped. What runs on
    a GPU has to wait for it before it returns.

    Args:
        rounds: At least 1.
        ways: Name of the row -> the work. First calls are slower: warm up before, unless cold is
            what is measured.
    """
    if rounds < 1:
        raise ValueError(f"expected at least 1 round, got {rounds}; give --rounds")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, Mapping[str, float | str]] = {name: {} for name in ways}
    for number_of_round in range(rounds):
        order = list(ways.items())
        for name, work in order if number_of_round % 2 == 0 else reversed(order):
            began, cpu_began = time.perf_counter(), time.process_time()
            result = work()
            took, cpu_took = time.perf_counter() - began, time.process_time() - cpu_began
            if isinstance(result, Child):
                took, cpu_took = result.seconds, result.cpu_seconds
                peaks[name].append(result.peak_mib)
                values[name] = result.values
            elif isinstance(result, Mapping):
                values[name] = result
            seconds[name].append(took)
            cpu_seconds[name].append(cpu_took)
    return {
        name: Measured(name, seconds[name], values[name], cpu_seconds[name], peaks[name])
        for name in ways
    }


def ratio(peer: Measured, ours: Measured, of: Quantity = "seconds") -> Ratio:
    """How many times the peer's ours is: the median over rounds, not a ratio of medians."""
    pairs = zip(getattr(peer, of), getattr(ours, of), strict=True)
    ratios = [theirs / max(own, 1e-12) for theirs, own in pairs]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def add_arguments(parser: argparse.ArgumentParser, rounds: int = 5) -> None:
    """Options of every script: ``--rounds`` and ``--json``."""
    parser.add_argument("--rounds", type=int, default=rounds, help="times that each way is run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")


def report(
    title: str,
    rows: Iterable[Measured],
    claims: Sequence[Claim],
    columns: Sequence[str] | None = None,
    *,
    packages: Iterable[str] = (),
    wanted: argparse.Namespace | None = None,
    notes: Sequence[str] = (),
) -> int:
    """Print the table, where it comes from and the claims; the exit status.

    Args:
        title: Above the table.
        rows: The peer's and ours.
        claims: What was claimed; none claims nothing and succeeds.
        columns: Keys of ``Measured.values`` to show; None shows all.
        packages: Whose versions matter.
        wanted: What ``add_arguments`` parsed; without it there is no JSON.
        notes: Sentences below the table.
    """
    rows = list(rows)
    facts = {
        "title": title,
        "table": table(rows, columns),
        "notes": list(notes),
        "machine": machine_line(),
        "versions": versions_line(packages),
        "date": f"{datetime.now().astimezone():%Y-%m-%d}",
        "command": _command(),
        "claims": [_claim_facts(claim) for claim in claims],
        "rows": [asdict(row) for row in rows],
    }
    print(f"\n{title}\n")
    widths = [max(map(len, cells)) for cells in zip(*facts["table"], strict=True)]
    for first, *others in facts["table"]:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    print("\n".join(["", *notes, facts["machine"], facts["versions"]]))
    print(f"{facts['date']}: {facts['command']}")
    for claim in claims:
        print(claim.sentence(), flush=True)
    _write(wanted, facts)
    return REACHED if all(claim.is_reached for claim in claims) else MISSED


def not_measured(title: str, reason: str, wanted: argparse.Namespace | None = None) -> int:
    """Say why nothing was measured (no GPU, a peer is not installed); the exit status is 0."""
    print(f"{title}\nnot measured: {reason}")
    _write(wanted, {"title": title, "not_measured": reason})
    return REACHED


def table(rows: Sequence[Measured], columns: Sequence[str] | None = None) -> list[list[str]]:
    """Cells, header first: the quantities that some row has, then the columns."""
    shown = [each for each in _QUANTITIES if any(getattr(row, each) for row in rows)]
    if columns is None:
        columns = list(dict.fromkeys(key for row in rows for key in row.values))
    # One round has no spread.
    varies = any(len(getattr(row, each)) > 1 for row in rows for each in shown)
    header = [""]
    for each in shown:
        header += [_QUANTITIES[each], "min to max"] if varies else [_QUANTITIES[each]]
    cells = [[*header, *columns]]
    for row in rows:
        line = [row.name]
        for each in shown:
            line += _quantity(row, each)[: 2 if varies else 1]
        line += [v if isinstance(v := row.values.get(c, ""), str) else number(v) for c in columns]
        cells.append(line)
    return cells


def _quantity(row: Measured, each: Quantity) -> list[str]:
    """Median and spread; empty where the row has none."""
    if not getattr(row, each):
        return ["", ""]
    return [number(row.median(each)), " to ".join(number(end) for end in row.spread(each))]


def number(value: float) -> str:
    """Three digits that count, whole numbers in full, without an exponent down to 0.001."""
    size = abs(value)
    if not math.isfinite(size):
        return str(value)
    if size < 1e15 and value == int(value):
        return f"{int(value):,}"
    if not 1e-3 <= size < 1e15:
        return f"{value:.2e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def main_guard(main: Callable[[], int]) -> NoReturn:
    """Run ``main`` and leave with its status; an error that a user can cause is one sentence."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("CLAD_DEBUG", "") not in ("", "0"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BROKEN)


def _claim_facts(claim: Claim) -> dict[str, object]:
    return {**asdict(claim), "is_reached": claim.is_reached, "sentence": claim.sentence()}


def _command() -> str:
    """This process's words, without where JSON goes."""
    words = sys.argv[1:]
    if "--json" in words:
        place = words.index("--json")
        del words[place : place + 2]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def _write(wanted: argparse.Namespace | None, facts: Mapping[str, object]) -> None:
    path = getattr(wanted, "json", None)
    if path is not None:
        path.write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")
