"""Several trainings and tests in one directory: planned together, kept one by one, read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clad.cli.errors import UsageError

if TYPE_CHECKING:
    from clad.cli.session import Session
    from clad.reports.run_directory import Run

NO_WEIGHTS = "--trainer.enable_checkpointing=false"
LEARNING = "num_learning"
"""Key of the run card: how many weights learned."""

_SEEDS = "--seeds"
_OURS = ("--trainer.default_root_dir", "--ckpt_path")


@dataclass(frozen=True)
class Planned:
    """One run among several.

    Args:
        name: As the table shows it.
        words: For `clad fit` or `clad test`, without where the run writes.
        config: What they come to, as YAML.
        verb: ``fit`` trains and tests, ``test`` only tests.
    """

    name: str
    words: tuple[str, ...]
    config: str
    verb: str = "fit"

    @property
    def folder(self) -> str:
        """Name of its run directory."""
        return folder_name(self.name)


def folder_name(name: str) -> str:
    """The name in small letters, digits and underscores."""
    return re.sub(r"\W+", "_", name).strip("_").lower()


def plan(name: str, words: Sequence[str], verb: str = "fit") -> Planned:
    """A run whose configuration was read.

    Raises:
        UsageError: If a key, class, value or reference is wrong, with the alternatives.
    """
    from clad.cli.configuration import read_configuration

    return Planned(name, tuple(words), read_configuration(verb, words), verb)


def expect_no_places(options: Sequence[str], what: str) -> None:
    """Refuse options that only one run could have, and seeds where only one can be taken.

    Args:
        options: Words for `clad fit`.
        what: One run, for the message.

    Raises:
        UsageError: If there is one.
    """
    for word in options:
        if word.partition("=")[0] == _SEEDS:
            raise UsageError(
                f"expected no {_SEEDS}, because this table is of one training per {what}; run the "
                "command once per seed, with --seed_everything N and an --output of its own"
            )
        if word.partition("=")[0] in _OURS:
            raise UsageError(
                f"expected no {word.partition('=')[0]}, because every {what} starts afresh in a "
                "directory of its own; choose where with --output"
            )


def open_output(output: Path | None, name: str, table: str) -> Path:
    """The directory of all runs: new, empty, or one to go on in.

    Args:
        output: Value of --output; None makes ``runs/NAME/TIME``.
        name: Of the folder of such directories.
        table: File that marks a directory of this kind.

    Raises:
        UsageError: If it holds something else.
    """
    from clad.cli.run_folders import create_run_dir

    if output is None:
        return create_run_dir(name, datetime.now().astimezone())
    is_ours = (output / table).is_file()
    if output.is_dir() and any(output.iterdir()) and not is_ours:
        raise UsageError(
            f"expected a new directory for --output, found files in {output}, and no {table} to go "
            "on with"
        )
    output.mkdir(parents=True, exist_ok=True)
    return output


def run_or_read(
    planned: Planned,
    output: Path,
    command: str,
    facts: Callable[[Session], dict[str, Any]] | None = None,
) -> Run | None:
    """What a finished run left: of an earlier command with the same configuration, or made now.

    Args:
        planned: The run.
        output: Directory of all runs.
        command: As typed.
        facts: What goes into the run card of a run that is made now.

    Returns:
        Its run directory, read; None in processes that hold no results.

    Raises:
        UsageError: If the directory holds a finished run of another configuration.
    """
    from clad.reports.run_directory import CONFIG, read_run

    folder = output / planned.folder
    if is_finished(folder):
        earlier = (folder / CONFIG).read_text(encoding="utf-8")
        if earlier != planned.config:
            raise UsageError(
                f"expected the configuration that {folder} was made with, got another; choose a "
                "new --output, or remove that folder"
            )
        print(f"{planned.name}: finished earlier, read from {folder}", flush=True)
        return read_run(folder)
    return read_run(folder) if _make(planned, folder, command, facts) else None


def is_finished(folder: Path) -> bool:
    """Whether a run directory holds the results of a test."""
    from clad.reports.files import read_json
    from clad.reports.run_directory import CARD, CONFIG, METRICS, PREDICTIONS

    has_files = all((folder / name).is_file() for name in (CARD, CONFIG, METRICS, PREDICTIONS))
    return has_files and "test" in read_json(folder / METRICS)


def _make(
    planned: Planned,
    folder: Path,
    command: str,
    facts: Callable[[Session], dict[str, Any]] | None,
) -> bool:
    """Whether this process holds the results."""
    from clad.cli.session import open_session
    from clad.cli.stages import evaluate_test, train

    where = ["--trainer.default_root_dir", str(folder)]
    session = open_session(planned.verb, [*planned.words, *where], command)
    if facts is not None:
        session.facts |= facts(session)
    if planned.verb == "fit":
        train(session)
    learning = sum(p.numel() for p in session.task.parameters() if p.requires_grad)
    session.facts[LEARNING] = learning
    return evaluate_test(session) is not None
