"""``clad ablate``: one recipe in several variants, each trained and tested, and one table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clad.cli.config_files import check_files, recipe_name
from clad.cli.errors import DONE, Parser, UsageError

_KEY = "variants"
_OURS = ("--trainer.default_root_dir", "--ckpt_path")
_NO_WEIGHTS = "--trainer.enable_checkpointing=false"


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
        return re.sub(r"\W+", "_", self.name).strip("_").lower()


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
    for word in options:
        if word.partition("=")[0] in _OURS:
            raise UsageError(
                f"expected no {word.partition('=')[0]}, because every variant starts afresh in a "
                "directory of its own; choose where with --output"
            )
    with _command_lines(variants, configs, options) as lines:
        _train_and_test(lines, configs, wanted.output, shlex.join(["clad", verb, *arguments]))
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
        help="new directory for all runs; default runs/RECIPE_ablation/TIME",
    )  # fmt: skip
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
def _command_lines(
    variants: Sequence[Variant], configs: Sequence[Path], options: Sequence[str]
) -> Iterator[list[tuple[Variant, list[str]]]]:
    """Words for `clad fit` by variant, as long as the files they name exist.

    Raises:
        UsageError: If a configuration is not as it should be, or two are alike.
    """
    import yaml

    from clad.cli.configuration import read_configuration

    with TemporaryDirectory() as folder:
        lines: list[tuple[Variant, list[str]]] = []
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
            lines.append((variant, [*words, _NO_WEIGHTS, *options]))
            text = read_configuration("fit", lines[-1][1])
            if text in seen:
                raise UsageError(
                    f"expected variants that differ, got one configuration for "
                    f"{seen[text].name!r} and {variant.name!r}; an option of the command line wins "
                    "over variants, leave it out"
                )
            seen[text] = variant
        yield lines


def _train_and_test(
    lines: Sequence[tuple[Variant, list[str]]],
    configs: Sequence[Path],
    output: Path | None,
    command: str,
) -> None:
    from clad.cli.run_folders import create_run_dir
    from clad.cli.session import open_session
    from clad.cli.stages import evaluate_test, train
    from clad.reports.ablation import AblationRow, to_text, write_ablation

    recipe = recipe_name(configs)
    if output is None:
        output = create_run_dir(f"{recipe}_ablation", datetime.now().astimezone())
    elif output.is_dir() and any(output.iterdir()):
        raise UsageError(f"expected a new directory for --output, found files in {output}")
    output.mkdir(parents=True, exist_ok=True)
    rows: list[AblationRow] = []
    for number, (variant, words) in enumerate(lines, 1):
        print(f"variant {number} of {len(lines)}: {variant.name}", flush=True)
        where = ["--trainer.default_root_dir", str(output / variant.folder)]
        session = open_session("fit", [*words, *where], command)
        train(session)
        evaluation = evaluate_test(session)
        if evaluation is None:
            continue
        learning = sum(p.numel() for p in session.task.parameters() if p.requires_grad)
        seconds = session.seconds["fit"] + session.seconds["test"]
        rows.append(AblationRow(variant.name, variant.folder, evaluation.mean, seconds, learning))
        write_ablation(output, recipe, command, rows)  # what is done stays, whatever comes
    if rows:
        print(f"\n{to_text(rows)}\nresults: {output}")
