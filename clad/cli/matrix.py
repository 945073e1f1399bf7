"""``clad matrix``: train on one kind of forgery each, test on all, and print the matrix."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clad.cli.config_files import check_files, recipe_name
from clad.cli.errors import DONE, Parser, UsageError
from clad.cli.several import (
    NO_WEIGHTS,
    Planned,
    expect_no_places,
    open_output,
    plan,
    run_or_read,
)

if TYPE_CHECKING:
    from clad.protocols.matrix import MatrixRow
    from clad.reports.run_directory import Run

SYNTHESIS = "synthesis"
"""Row of the model that was trained on real images and on forgeries made from them."""

_KINDS = "--data.train_kinds"


class _Plan(NamedTuple):
    """What is trained and tested.

    Args:
        runs: One per row.
        kinds: Columns.
    """

    runs: list[Planned]
    kinds: tuple[str, ...]


def run(verb: str, arguments: list[str]) -> int:
    """Train a recipe on real images and one kind each, test on all kinds, print AUROC.

    All runs are planned before the first one trains; finished ones are read back.

    Raises:
        FileNotFoundError: If a file or folder that was named is missing.
        UsageError: If a kind is not there to learn from or to test on.
    """
    wanted, options = _parser(verb).parse_known_args(arguments)
    configs = [Path(name) for name in wanted.config]
    check_files([*configs, *([wanted.train] if wanted.train else [])])
    expect_no_places(options, "row")
    planned = _plan(wanted, configs, options)
    _train_and_test(planned, configs, wanted.output, shlex.join(["clad", verb, *arguments]))
    return DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        usage=f"clad {verb} --config RECIPE --data.root DIR [--methods a,b,c] [--train FILE] "
        "[--output DIR] [options of clad fit]",
        description="Cross-manipulation matrix: train a recipe on the real images and one kind of "
        "forgery, test it on every kind, and print image AUROC, a row per training.",
        epilog="Options of `clad fit` go to every row. Weights are only kept with "
        "--trainer.enable_checkpointing true.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-c", "--config", metavar="RECIPE", action="append", required=True,
        help="what all rows share; files that are named later win",
    )  # fmt: skip
    parser.add_argument(
        "--methods", metavar="a,b,c",
        help="kinds of forgery; default all that are in both train and test",
    )  # fmt: skip
    parser.add_argument(
        "--train", metavar="FILE", type=Path,
        help=f"adds the row `{SYNTHESIS}`: this file is laid over the recipe (its data.synthesis "
        "makes forgeries), and no stored forgery is learnt from",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="DIR", type=Path,
        help="directory for all runs; rows that are finished there are read back; default "
        "runs/RECIPE_matrix/TIME",
    )  # fmt: skip
    return parser


def _plan(wanted: Namespace, configs: Sequence[Path], options: Sequence[str]) -> _Plan:
    from clad.cli.quiet import quieten

    quieten()
    words = [word for path in configs for word in ("--config", str(path))]
    kinds, tested = _kinds(plan("all", [*words, *options]).config, wanted.methods)
    given = [NO_WEIGHTS, *options]
    runs = [plan(kind, [*words, *given, f"{_KINDS}={json.dumps([kind])}"]) for kind in kinds]
    if wanted.train is not None:
        overlay = ["--config", str(wanted.train)]
        made = plan(SYNTHESIS, [*words, *overlay, *given, f"{_KINDS}=[]"])
        _expect_synthesis(made.config, wanted.train)
        runs.append(made)
    folders = [each.folder for each in runs]
    if len(set(folders)) < len(folders) or "" in folders:
        raise UsageError(
            f"expected kinds of forgery whose names differ in letters or digits, and none of the "
            f"name {SYNTHESIS!r}, got {', '.join(each.name for each in runs)}; rename the folders"
        )
    return _Plan(runs, tested)


def _kinds(config: str, methods: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kinds to learn from, and kinds to test on."""
    import yaml

    from clad.cli.data_config import build_data
    from clad.data.splits import count_by

    content = {**yaml.safe_load(config)["data"], "train_kinds": None}
    splits = build_data(content, "clad matrix").splits
    train, test = (
        count_by((s for s in samples if s.label), lambda s: s.defect_type)
        for samples in (splits.train, splits.test)
    )
    if methods is None:
        both, tested = tuple(kind for kind in test if kind in train), tuple(test)
    else:
        both = tested = tuple(name.strip() for name in methods.split(","))
    missing = [kind for kind in both if kind not in train or kind not in test]
    if missing or not both:
        raise UsageError(
            f"expected kinds of forgery that are in train ({', '.join(train) or 'none'}) and in "
            f"test ({', '.join(test) or 'none'}), got {', '.join(missing) or 'none'}; check "
            "--methods and data.root, and let the source train on anomalies"
        )
    return both, tested


def _expect_synthesis(config: str, path: Path) -> None:
    import yaml

    data = yaml.safe_load(config)["data"]
    if data["synthesis"] is None:
        raise UsageError(
            f"expected a generator of forgeries in {path} or in the recipe, got no data.synthesis; "
            "lay a file of configs/forgery/ or configs/synthesis/ over it"
        )


def _train_and_test(
    planned: _Plan, configs: Sequence[Path], output: Path | None, command: str
) -> None:
    from clad.protocols.matrix import Matrix
    from clad.reports.matrix import JSON, to_text, write_matrix

    recipe = recipe_name(configs)
    folder = open_output(output, f"{recipe}_matrix", JSON)
    rows: list[MatrixRow] = []
    for number, each in enumerate(planned.runs, 1):
        print(f"row {number} of {len(planned.runs)}: {each.name}", flush=True)
        found = run_or_read(each, folder, command)
        if found is None:
            continue
        rows.append(_row(each, found, planned.kinds))
        matrix = Matrix(planned.kinds, tuple(rows))
        write_matrix(folder, matrix, {"recipe": recipe, "command": command})
    if rows:
        print(f"\nimage AUROC, [what was learned]\n{to_text(matrix)}\nresults: {folder}")


def _row(planned: Planned, found: Run, kinds: Sequence[str]) -> MatrixRow:
    from clad.protocols.matrix import MatrixRow, auroc_by_kind

    table = found.predictions
    values = auroc_by_kind(table.scores, table.labels, table.defect_types, table.categories, kinds)
    seconds = sum(found.card["seconds"].get(stage, 0) for stage in ("fit", "test"))
    return MatrixRow(planned.name, values, planned.folder, seconds)
