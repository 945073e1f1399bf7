"""``clad ablate``: one recipe in several variants, each trained and tested, and one table."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from clad.cli.config_files import check_files, recipe_name
from clad.cli.errors import DONE, Parser, UsageError
from clad.cli.seeds import Seeds, add_seed_options, plan_seeds, read_seeds, run_seeds
from clad.cli.several import (
    LEARNING,
    NO_WEIGHTS,
    Planned,
    expect_no_places,
    folder_name,
    open_output,
    plan,
    run_or_read,
)

if TYPE_CHECKING:
    from clad.reports.ablation import AblationRow
    from clad.reports.run_directory import Run
    from clad.reports.seeds import SeedReport

_KEY = "variants"


@dataclass(frozen=True)
class Variant:
    """One row of an ablation.

    Args:
        name: As the table shows it.
        overlays: What is laid over the recipe, in order: keys with values, or a file of them.
    """

    name: str
    overlays: tuple[Mapping[str, Any] | Path, ...]

    @property
    def folder(self) -> str:
        """Name of its run directory."""
        return folder_name(self.name)


def run(verb: str, arguments: list[str]) -> int:
    """Train and test every variant in a directory of its own; print and write one table.

    All variants are read and compared before the first one trains.

    Raises:
        FileNotFoundError: If a file or folder that was named is missing.
        UsageError: If variants cannot be read, do not fit the recipe, or are alike.
    """
    wanted, options = _parser(verb).parse_known_args(arguments)
    configs = [Path(name) for name in wanted.config]
    check_files([*configs, wanted.variants])
    variants = read_variants(wanted.variants)
    expect_no_places(options, "variant")
    seeds = None
    if wanted.seeds is not None:
        seeds = read_seeds(wanted.seeds, wanted.vary, options)
    command = shlex.join(["clad", verb, *arguments])
    with _planned(variants, configs, options) as runs:
        _train_and_test(runs, configs, wanted.output, command, seeds)
    return DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        usage=f"clad {verb} --config RECIPE --variants FILE [--output DIR] [options of clad fit]",
        description="Train and test a recipe in several variants and print one table: what does "
        "each part bring?",
        epilog="Options of `clad fit` go to every variant and win over it, such as --data.root DIR "
        "or --trainer.max_steps 20. Weights are only kept with "
        "--trainer.enable_checkpointing true.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-c", "--config", metavar="RECIPE", action="append", required=True,
        help="what all variants share; files that are named later win",
    )  # fmt: skip
    parser.add_argument(
        "--variants", metavar="FILE", type=Path, required=True,
        help="names and overlays, as configs/ablations/clad_table_2.yaml has them",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="DIR", type=Path,
        help="directory for all runs; variants that are finished there are read back; default "
        "runs/RECIPE_ablation/TIME",
    )  # fmt: skip
    add_seed_options(parser)
    return parser


def read_variants(path: Path) -> list[Variant]:
    """The variants of a YAML file.

    Raises:
        FileNotFoundError: If it names a file that is not there.
        UsageError: If it is not a mapping of names to lists of overlays.
    """
    import yaml

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    given = content.get(_KEY)
    if set(content) != {_KEY} or not isinstance(given, dict) or not given:
        raise UsageError(
            f"expected `{_KEY}:` with names and overlays, and nothing else, in {path}, got "
            f"{', '.join(map(str, content))}; see configs/ablations/"
        )
    variants = [Variant(str(name), _overlays(path, name, each)) for name, each in given.items()]
    folders: dict[str, str] = {}
    for variant in variants:
        if not variant.folder or variant.folder in folders:
            other = folders.get(variant.folder, "no letter")
            raise UsageError(
                f"expected names of variants that differ in letters or digits in {path}, got "
                f"{variant.name!r} and {other!r}; rename one"
            )
        folders[variant.folder] = variant.name
    return variants


def _overlays(path: Path, name: object, given: object) -> tuple[Mapping[str, Any] | Path, ...]:
    if not isinstance(given, list) or not all(isinstance(each, dict | str) for each in given):
        raise UsageError(
            f"expected a list of overlays (keys with values, or paths of files) for {name!r} in "
            f"{path}, got {given!r}; an empty list is the recipe as it is"
        )
    found = tuple(path.parent / each if isinstance(each, str) else each for each in given)
    check_files([each for each in found if isinstance(each, Path)])
    return found


@contextmanager
def _planned(
    variants: Sequence[Variant], configs: Sequence[Path], options: Sequence[str]
) -> Iterator[list[Planned]]:
    """A run by variant, as long as the files it names exist.

    Raises:
        UsageError: If a configuration is not as it should be, or two are alike.
    """
    import yaml

    with TemporaryDirectory() as folder:
        runs: list[Planned] = []
        seen: dict[str, Variant] = {}
        for variant in variants:
            files = [*configs]
            for number, overlay in enumerate(variant.overlays):
                if isinstance(overlay, Path):
                    files.append(overlay)
                else:
                    files.append(Path(folder) / f"{variant.folder}_{number}.yaml")
                    files[-1].write_text(yaml.safe_dump(dict(overlay)), encoding="utf-8")
            words = [word for file in files for word in ("--config", str(file))]
            runs.append(plan(variant.name, [*words, NO_WEIGHTS, *options]))
            text = runs[-1].config
            if text in seen:
                raise UsageError(
                    f"expected variants that differ, got one configuration for "
                    f"{seen[text].name!r} and {variant.name!r}; an option of the command line wins "
                    "over variants, leave it out"
                )
            seen[text] = variant
        yield runs


def _train_and_test(
    runs: Sequence[Planned],
    configs: Sequence[Path],
    output: Path | None,
    command: str,
    seeds: Seeds | None,
) -> None:
    from clad.reports.ablation import JSON, to_text, write_ablation

    recipe = recipe_name(configs)
    by_seed = None if seeds is None else [plan_seeds(seeds, each.words) for each in runs]
    folder = open_output(output, f"{recipe}_ablation", JSON)
    rows: list[AblationRow] = []
    if not (folder / JSON).is_file():
        write_ablation(folder, recipe, command, rows)  # marks the folder as one to go on in
    for number, planned in enumerate(runs, 1):
        print(f"variant {number} of {len(runs)}: {planned.name}", flush=True)
        if seeds is None or by_seed is None:
            found = run_or_read(planned, folder, command)
            row = None if found is None else _row(planned, found)
        else:
            place = folder / planned.folder
            report = run_seeds(by_seed[number - 1], seeds, place, planned.name, command)
            row = _row_of_seeds(planned, report) if report.runs else None
        if row is None:
            continue
        rows.append(row)
        write_ablation(folder, recipe, command, rows)  # what is done stays, whatever comes
    if rows:
        print(f"\n{to_text(rows)}\nresults: {folder}")


def _row(planned: Planned, found: Run) -> AblationRow:
    from clad.reports.ablation import AblationRow

    seconds = sum(found.card["seconds"].get(stage, 0) for stage in ("fit", "test"))
    mean, num_learning = found.evaluation.mean, found.card[LEARNING]
    return AblationRow(planned.name, planned.folder, mean, seconds, num_learning)


def _row_of_seeds(planned: Planned, report: SeedReport) -> AblationRow:
    """Mean and standard deviation over the seeds of one variant; its time is that of all."""
    from clad.reports.ablation import AblationRow
    from clad.reports.seeds import spreads
    from clad.reports.tables import MEAN

    found = spreads(report.runs)[MEAN]
    return AblationRow(
        planned.name,
        planned.folder,
        {metric: each.mean for metric, each in found.items()},
        sum(run.seconds for run in report.runs),
        report.runs[0].num_learning,
        std={metric: each.std for metric, each in found.items()},
        seeds=tuple(run.seed for run in report.runs),
    )
