"""``clad compare RUN_A RUN_B``: finished runs on the same test images, and what is chance."""

from __future__ import annotations

import shlex
from pathlib import Path

from clad.cli.errors import DONE, Parser, UsageError

_ENDINGS = (".json", ".md")
_MOST = 26


def run(verb: str, arguments: list[str]) -> int:
    """Compare every run with the first and print tables with intervals and p-values.

    Raises:
        FileNotFoundError: If a run directory, one of its files or the folder to write to is
            missing.
        ValueError: If files cannot be read, or runs were not tested on the same images.
    """
    wanted = _parser(verb).parse_args(arguments)
    if not 2 <= len(wanted.runs) <= _MOST:
        raise UsageError(
            f"expected 2 to {_MOST} run directories, got {len(wanted.runs)}; the first is what the "
            "others are compared with"
        )
    output: Path | None = wanted.output
    if output is not None and output.suffix not in _ENDINGS:
        raise UsageError(f"expected --output to end in {' or '.join(_ENDINGS)}, got {output}")
    if output is not None and not output.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"expected a folder for --output at {output.parent}, found none; create it first"
        )
    # What is imported here takes longer than everything above.
    from clad.reports.compare_tables import WRITERS, to_text
    from clad.reports.comparison import compare_runs
    from clad.reports.run_directory import read_run

    first, *others = (read_run(path) for path in wanted.runs)
    found = compare_runs(first, others, wanted.common, wanted.resamples)
    print(to_text(found))
    if output is not None:
        facts = {
            "command": shlex.join(["clad", verb, *arguments]),
            "num_resamples": wanted.resamples,
        }
        WRITERS[output.suffix](output, found, facts)
        print(f"results: {output}")
    return DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        usage=f"clad {verb} RUN_A RUN_B [RUN_C ...] [--common] [--resamples N] [--output FILE]",
        description="Compare finished runs that were tested on the same images: every run against "
        "the first, with paired bootstrap intervals, DeLong's test and McNemar's.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="folders that `clad test` wrote"
    )
    parser.add_argument(
        "--common", action="store_true",
        help="where test sets differ, compare on the images that are in both",
    )  # fmt: skip
    parser.add_argument(
        "--resamples", metavar="N", type=int, default=1000,
        help="draws of the bootstrap; no p below 2 / (N + 1) can come out; default 1000",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE", type=Path,
        help="writes the result, too: .json with all digits, .md as a page",
    )  # fmt: skip
    return parser
