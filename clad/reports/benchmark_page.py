"""The page of a month's benchmarks: one section per script, renewed when it is run again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from clad.reports.files import write_text

_INTRODUCTION = (
    "Written by `clad bench NAME --write DIR`. Each section is renewed by running its benchmark "
    "again;\nwhat stands above the first one stays. Seconds are medians over rounds, in which peer "
    "and ours took turns;\na ratio is the median of the rounds' ratios, with the smallest and the "
    "largest."
)
_MARK = "<!-- clad bench {name} -->"
_ANY_MARK = re.compile(r"^<!-- clad bench (\w+) -->$", re.MULTILINE)


def update_page(folder: Path, name: str, claim: str, facts: Mapping[str, Any]) -> Path:
    """Put a result on the page of its month, and return where that is.

    Args:
        folder: Of the pages; made if needed.
        name: Of the benchmark; its section is replaced if there is one, and others stay.
        claim: What it says.
        facts: From ``--json`` of the script.
    """
    day = date.fromisoformat(facts["date"]) if "date" in facts else date.today()
    path = folder / f"{day:%Y-%m}_claims.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not text:
        text = f"# Benchmarks, {day:%B %Y}: claims\n\n{_INTRODUCTION}\n"
    # Text before the first mark, then name and text of each section in turn.
    head, *parts = _ANY_MARK.split(text)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    sections[name] = section(name, claim, facts)
    written = [
        f"{_MARK.format(name=each)}\n{sections[each].strip()}\n" for each in sorted(sections)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join([head.rstrip() + "\n", *written]))
    return path


def section(name: str, claim: str, facts: Mapping[str, Any]) -> str:
    """Markdown of one result: claim, command, table, what was reached, machine."""
    title = f"## {name}\n\n{claim}."
    if "not_measured" in facts:
        return f"{title}\n\nNot measured: {facts['not_measured']}."
    lines = [title, f"```bash\n{public_command(facts['command'])}\n```", _table(facts["table"])]
    lines += facts["notes"]
    sentences = []
    for each in facts["claims"]:
        found, colon, verdict = each["sentence"].rpartition(": ")
        is_verdict = verdict in ("reached", "missed")
        sentences.append(
            f"- {found}{colon}**{verdict}**" if is_verdict else f"- {each['sentence']}"
        )
    lines.append("\n".join(sentences))
    lines.append(f"{facts['date']}; {facts['machine']}; {facts['versions']}.")
    return "\n\n".join(line for line in lines if line)


def public_command(command: str) -> str:
    """The command with ``DIR`` for every place on this machine."""
    words = []
    for word in shlex.split(command):
        option, equals, value = word.partition("=")
        if equals and option.startswith("-") and Path(value).is_absolute():
            words.append(f"{option}=DIR")
        else:
            words.append("DIR" if Path(word).is_absolute() else shlex.quote(word))
    return " ".join(words)


def _table(cells: Sequence[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in cells]
    rule = ["---", *["---:"] * (len(cells[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:]))
