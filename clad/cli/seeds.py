"""``--seeds 0,1,2``: what is trained and tested once per seed, and how far its numbers move."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from clad.cli.config_files import named_files, recipe_name
from clad.cli.errors import Parser, UsageError
from clad.cli.run_folders import last_checkpoint
from clad.cli.several import (
    LEARNING,
    Planned,
    expect_no_places,
    is_finished,
    open_output,
    plan,
    run_or_read,
)

if TYPE_CHECKING:
    from clad.cli.session import Session
    from clad.reports.seeds import SeedReport

OPTION = "--seeds"
HELP = (
    "--seeds 0,1,2 [--vary training|all] [--output DIR] trains and tests once per seed and prints "
    "mean and standard deviation."
)
_TRAINING, _DATA, _SPLIT = "--seed_everything", "--data.seed", "--data.split_seed"
_LARGEST = 2**32 - 1
_FACES = ("image_eer", "frame_auroc", "video_auroc", "video_eer")
"""Shown besides the headlines, where they are measured."""


class Seeds(NamedTuple):
    """Which seeds, and what they decide.

    Args:
        numbers: At least one, each once.
        vary: ``training`` leaves splits and shots as they are, ``all`` draws them anew, too.
    """

    numbers: tuple[int, ...]
    vary: str

    def words(self, seed: int, split_seed: int) -> list[str]:
        """Options of one run; ``split_seed`` is the configuration's own."""
        given = [f"{_TRAINING}={seed}", f"{_DATA}={seed}"]
        return given if self.vary == "all" else [*given, f"{_SPLIT}={split_seed}"]


class SeedRequest(NamedTuple):
    """Which seeds, and where all runs go; None for a folder of its own."""

    seeds: Seeds
    output: Path | None


def has_seeds(words: Sequence[str]) -> bool:
    """Whether the option is there."""
    return any(word.partition("=")[0] == OPTION for word in words)


def add_seed_options(parser: ArgumentParser) -> None:
    """Add ``--seeds`` and ``--vary``."""
    parser.add_argument(
        OPTION, metavar="0,1,2", help="train and test once per seed, and print mean and std"
    )
    parser.add_argument(
        "--vary", metavar="WHAT", default="training",
        help="what the seeds decide: `training` (default; new weights, dropout, order, "
        "augmentation, synthesis) or `all` (also splits and shots, unless data.split_seed is set)",
    )  # fmt: skip


def read_seeds(text: str, vary: str, options: Sequence[str]) -> Seeds:
    """The seeds of ``--seeds``.

    Args:
        text: Numbers with commas between.
        vary: Value of ``--vary``.
        options: The other words; none of them may set a seed.

    Raises:
        UsageError: If a number is none or twice there, or an option contradicts.
    """
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit()]
    is_whole = len(numbers) == len(parts) and all(number <= _LARGEST for number in numbers)
    if not is_whole or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"expected different whole numbers from 0 to {_LARGEST} for {OPTION}, with commas "
            f"between, got {text!r}; write for example {OPTION} 0,1,2"
        )
    if vary not in ("training", "all"):
        raise UsageError(f"expected --vary to be training or all, got {vary!r}")
    for word in options:
        is_data = word.partition("=")[0] == _DATA and vary == "all"
        if is_data or word.partition("=")[0] == _TRAINING:
            raise UsageError(
                f"expected no {word.partition('=')[0]} beside {OPTION}, which sets it; leave it out"
            )
    return Seeds(tuple(numbers), vary)


def take_seeds(verb: str, arguments: Sequence[str]) -> tuple[SeedRequest | None, list[str]]:
    """What is asked for, or None without ``--seeds``; and the words that are left.

    Raises:
        UsageError: If an option is wrong or contradicts.
    """
    if not has_seeds(arguments):
        return None, list(arguments)
    parser = Parser(prog=f"clad {verb}", add_help=False, allow_abbrev=False)
    add_seed_options(parser)
    parser.add_argument("--output", type=Path)
    wanted, others = parser.parse_known_args(list(arguments))
    seeds = read_seeds(wanted.seeds, wanted.vary, others)
    expect_no_places(others, "seed")
    return SeedRequest(seeds, wanted.output), others


def train_seeds(
    request: SeedRequest,
    words: Sequence[str],
    command: str,
    facts: Callable[[Session], dict[str, Any]] | None = None,
) -> None:
    """Train and test once per seed, print mean and standard deviation, write both files.

    Every configuration is read before the first run trains.

    Args:
        request: From ``take_seeds``.
        words: For `clad fit`.
        command: As typed.
        facts: What goes into the run card of each run.

    Raises:
        UsageError: If a configuration is wrong, or an unfinished training is in the way.
    """
    from clad.cli.stages import HEADLINES
    from clad.reports.seeds import JSON, to_text

    recipe = recipe_name(named_files(words))
    planned = plan_seeds(request.seeds, words)
    folder = open_output(request.output, f"{recipe}_seeds", JSON)
    report = run_seeds(planned, request.seeds, folder, recipe, command, facts)
    if report.runs:
        print(f"\n{to_text(report, (*HEADLINES, *_FACES))}\nresults: {folder}")


def plan_seeds(seeds: Seeds, words: Sequence[str]) -> list[Planned]:
    """A run by seed, its configuration read.

    Raises:
        UsageError: If a key, class, value or reference is wrong, with the alternatives.
    """
    from clad.cli.configuration import read_configuration

    data = yaml.safe_load(read_configuration("fit", words))["data"]
    split_seed = data["seed"] if data["split_seed"] is None else data["split_seed"]
    return [
        plan(f"seed {seed}", [*words, *seeds.words(seed, split_seed)]) for seed in seeds.numbers
    ]


def run_seeds(
    planned: Sequence[Planned],
    seeds: Seeds,
    folder: Path,
    recipe: str,
    command: str,
    facts: Callable[[Session], dict[str, Any]] | None = None,
) -> SeedReport:
    """Train and test what is not finished in the folder, and write the report after each seed.

    Raises:
        UsageError: If the folder holds an unfinished training, or one of another configuration.
    """
    from clad.reports.seeds import JSON, SeedReport, SeedRun, write_seeds

    for each in planned:
        _expect_finished_or_new(folder / each.folder)
    report = SeedReport(recipe, command, seeds.vary, seeds.numbers)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / JSON).is_file():
        write_seeds(folder, report)  # marks the folder as one to go on in
    for seed, each in zip(seeds.numbers, planned, strict=True):
        print(f"seed {seed}: {len(report.runs) + 1} of {len(planned)}", flush=True)
        found = run_or_read(each, folder, command, facts)
        if found is None:
            continue
        seconds = sum(found.card["seconds"].get(stage, 0) for stage in ("fit", "test"))
        done = SeedRun(seed, each.folder, found.evaluation, seconds, found.card[LEARNING])
        report = replace(report, runs=(*report.runs, done))
        write_seeds(folder, report)
    return report


def _expect_finished_or_new(folder: Path) -> None:
    checkpoint = last_checkpoint(folder)
    if checkpoint.is_file() and not is_finished(folder):
        raise UsageError(
            f"expected a finished run or none in {folder}, found {checkpoint} of a training that "
            "was cut off or not tested; remove that folder, and its seed is trained again"
        )
