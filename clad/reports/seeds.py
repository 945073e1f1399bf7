"""One recipe trained with several seeds: mean and spread of every metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clad.metrics.evaluation import Evaluation
from clad.metrics.spread import Spread, spread
from clad.reports.files import write_json, write_text
from clad.reports.tables import MEAN, UNDEFINED, format_fraction, markdown_of, ruled

JSON, MARKDOWN = "seeds.json", "seeds.md"
_HEADER = ["category", "mean ± std", "min", "max", "n"]

VARIED = {
    "training": "new weights, dropout, order of images, augmentation and synthesis; splits and "
    "shots stay (data.split_seed)",
    "all": "new weights, dropout, order of images, augmentation and synthesis, and also splits and "
    "shots, unless data.split_seed is set; where a source splits at random, test images differ",
}
"""What differs between seeds, by ``--vary``."""


class SeedRun(NamedTuple):
    """What came of one seed.

    Args:
        seed: Of the run.
        folder: Its run directory, beside the files of all.
        evaluation: Its metrics.
        seconds: Wall-clock time of training and test.
        num_learning: Number of weights that learned.
    """

    seed: int
    folder: str
    evaluation: Evaluation
    seconds: float
    num_learning: int


@dataclass(frozen=True)
class SeedReport:
    """Runs that differ in their seed.

    Args:
        recipe: What they share.
        command: As typed.
        vary: Key of ``VARIED``.
        planned: All seeds that were asked for.
        runs: Those that are done.
    """

    recipe: str
    command: str
    vary: str
    planned: tuple[int, ...]
    runs: tuple[SeedRun, ...] = ()


def spreads(runs: Sequence[SeedRun]) -> dict[str, dict[str, Spread]]:
    """Category, and last ``mean`` over categories -> metric -> its spread over seeds.

    The mean is taken over categories first, then over seeds, so its std is that of a mean.
    """
    tables = [{**run.evaluation.per_category, MEAN: run.evaluation.mean} for run in runs]
    names = dict.fromkeys(name for table in tables for name in table if name != MEAN)
    return {
        name: {
            metric: spread([table.get(name, {}).get(metric, math.nan) for table in tables])
            for metric in dict.fromkeys(m for table in tables for m in table.get(name, {}))
        }
        for name in (*names, MEAN)
    }


def to_text(report: SeedReport, metrics: Sequence[str]) -> str:
    """A table per metric for a terminal, then what it does and does not say.

    Args:
        report: At least one run is done.
        metrics: Those to show; of them, the ones that have a value somewhere.
    """
    found = spreads(report.runs)
    lines = []
    for metric in _defined(found, metrics):
        lines += [metric, ruled(_cells(found, metric), 1), ""]
    return "\n".join([*lines, *_sentences(report, found)])


def to_markdown(report: SeedReport) -> str:
    """A page with every metric that has a value somewhere."""
    found = spreads(report.runs)
    lines = [f"# {report.recipe}: seeds {', '.join(str(run.seed) for run in report.runs)}", ""]
    lines += [f"- {sentence}" for sentence in _sentences(report, found)]
    lines += [f"- command: `{report.command}`"]
    for metric in _defined(found, list(found[MEAN])):
        lines += ["", f"## {metric}", "", markdown_of(_cells(found, metric), 1)]
    return "\n".join([*lines, ""])


def write_seeds(folder: Path, report: SeedReport) -> None:
    """Write ``seeds.json`` (all digits) and, once a run is done, ``seeds.md``."""
    found = spreads(report.runs)
    runs = [{"seed": run.seed, "folder": run.folder, "seconds": run.seconds} for run in report.runs]
    content = {
        "recipe": report.recipe,
        "command": report.command,
        "vary": report.vary,
        "varied": VARIED[report.vary],
        "seeds": list(report.planned),
        "runs": runs,
        "per_category": {
            name: _plain(rows, [run.evaluation.per_category.get(name, {}) for run in report.runs])
            for name, rows in found.items()
            if name != MEAN
        },
        "mean": _plain(found[MEAN], [run.evaluation.mean for run in report.runs]),
    }
    write_json(folder / JSON, content)
    if report.runs:
        write_text(folder / MARKDOWN, to_markdown(report))


def format_spread(found: Spread) -> str:
    """``0.943 ± 0.012``; without the second number where there is one seed."""
    if not found.num:
        return UNDEFINED
    if math.isnan(found.std):
        return format_fraction(found.mean)
    return f"{format_fraction(found.mean)} ± {found.std:.3f}"


def _cells(found: Mapping[str, Mapping[str, Spread]], metric: str) -> list[list[str]]:
    nothing = spread([])
    rows = [(name, of_metric.get(metric, nothing)) for name, of_metric in found.items()]
    return [
        list(_HEADER),
        *(
            [
                name,
                format_spread(each),
                format_fraction(each.low),
                format_fraction(each.high),
                str(each.num),
            ]
            for name, each in rows
        ),
    ]


def _defined(found: Mapping[str, Mapping[str, Spread]], metrics: Sequence[str]) -> list[str]:
    return [metric for metric in metrics if metric in found[MEAN] and found[MEAN][metric].num]


def _sentences(report: SeedReport, found: Mapping[str, Mapping[str, Spread]]) -> Iterator[str]:
    num = len(report.runs)
    if num < len(report.planned):
        yield f"{num} of {len(report.planned)} seeds are done"
    if num < 2:
        yield "one seed: a standard deviation is undefined, it takes two"
    else:
        yield f"std: sample standard deviation over {num} seeds (n - 1), not of their mean"
    yield f"varied: {VARIED[report.vary]}"
    every = [each for rows in found.values() for each in rows.values() if each.num]
    if num > 1 and every and all(each.low == each.high for each in every):
        hint = "; --vary all draws splits anew, too" if report.vary == "training" else ""
        yield f"every seed gave the same numbers: nothing here depends on what was varied{hint}"


def _plain(
    rows: Mapping[str, Spread], tables: Sequence[Mapping[str, float]]
) -> dict[str, dict[str, Any]]:
    return {
        metric: {
            "mean": _or_none(each.mean),
            "std": _or_none(each.std),
            "min": _or_none(each.low),
            "max": _or_none(each.high),
            "n": each.num,
            "values": [_or_none(table.get(metric, math.nan)) for table in tables],
        }
        for metric, each in rows.items()
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
