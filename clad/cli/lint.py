"""``clad lint ROOT``: whether files give the label away, and what roles and labels share."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clad.cli.config_files import check_files, find_config
from clad.cli.errors import DONE, FAILED, Parser, UsageError

if TYPE_CHECKING:
    from clad.data.datamodule import AnomalyDataModule
    from clad.data.file_facts import FileFacts
    from clad.protocols.lint import FactScores
    from clad.protocols.sharing import Shared
    from clad.samples import Sample, Splits

_DEFAULT = "real_fake.yaml"
_ROOT = "--data.root"


def run(verb: str, arguments: list[str]) -> int:
    """Print what gives labels away and what is shared; 1 with ``--strict`` if there is a warning.

    Raises:
        FileNotFoundError: If the folder or a configuration is missing.
        UsageError: If the data cannot be listed, or copies cannot be made.
    """
    wanted, options = _parser(verb).parse_known_args(arguments)
    for word in options:
        if not word.startswith("--data.") or word.partition("=")[0] == _ROOT:
            raise UsageError(f"expected options --data.* beside ROOT, got {word!r}")
    configs = wanted.config or [find_config("data", _DEFAULT)]
    check_files(configs)
    from clad.cli.data_config import read_data
    from clad.cli.quiet import quieten

    quieten()
    data = read_data(configs, [f"{_ROOT}={wanted.root}", *options], f"clad {verb}")
    splits = data.source.list_samples(data.root, data.categories, data.split_seed)
    for note in splits.notes:
        print(note)
    if wanted.reencode is not None:
        _reencode(wanted, data, splits)
        return DONE
    warnings = list(_examine(splits, wanted, shlex.join(["clad", verb, str(wanted.root)])))
    for sentence in warnings:
        print(f"warning: {sentence}")
    if not warnings:
        print("nothing found that gives labels away or that roles share")
    return FAILED if warnings and wanted.strict else DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        usage=f"clad {verb} ROOT [--config configs/data/X.yaml] [--strict] [--limit N] "
        "[--reencode DIR] [--data.* options]",
        description="Predict labels from file facts alone (format, size, JPEG quality, ...), look "
        "for equal files in different roles or of different labels, and for videos or people in "
        "two roles.",
        allow_abbrev=False,
    )
    parser.add_argument("root", metavar="ROOT", type=Path, help="folder of the data set")
    parser.add_argument(
        "--config", metavar="FILE", type=Path, action="append", default=[],
        help=f"the layout, a file of configs/data/; default {_DEFAULT}",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit status 1 with a warning")
    parser.add_argument(
        "--limit", metavar="N", type=int, help="take the facts of about N files, not of all"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of folds and intervals")
    parser.add_argument(
        "--reencode", metavar="DIR", type=Path,
        help="write a copy of all images there, resized and encoded alike, and do nothing else",
    )  # fmt: skip
    parser.add_argument(
        "--as", dest="encoding", choices=("png", "jpeg"), default="png",
        help="encoding of the copies; jpeg is quality 95, 4:4:4",
    )  # fmt: skip
    return parser


def _examine(splits: Splits, wanted: Namespace, command: str) -> Iterator[str]:
    """One sentence per warning; the table is printed."""
    from clad.data.degraded import draw_samples
    from clad.data.splits import unit_of
    from clad.protocols.lint import score_facts
    from clad.protocols.sharing import find_shared

    samples = (*splits.train, *splits.validation, *splits.test)
    drawn = draw_samples(samples, wanted.limit, wanted.seed)
    facts, unreadable = _read(drawn)
    kept = [sample for sample in drawn if sample.image_path not in unreadable]
    labels = [sample.label for sample in kept]
    scores = score_facts(facts, labels, [unit_of(sample) for sample in kept], wanted.seed)
    num_fake = sum(labels)
    print(f"\nlabels told from the files of {len(labels) - num_fake} normal, {num_fake} anomalous")
    _print(scores)
    if unreadable:
        yield f"files that cannot be read: {len(unreadable)}, such as {next(iter(unreadable))}"
    if scores.gives_away:
        yield _sentence(scores, command)
    yield from _shared(find_shared(splits))


def _read(samples: Sequence[Sample]) -> tuple[list[FileFacts], dict[Path, None]]:
    """Facts of the files that can be read, in order, and the others."""
    from concurrent.futures import ThreadPoolExecutor

    from clad.data.file_facts import read_facts

    def facts_of(sample: Sample) -> FileFacts | None:
        try:
            return read_facts(sample.image_path)
        except (ValueError, OSError):
            return None

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(facts_of, samples))
    pairs = list(zip(samples, found, strict=True))
    unreadable = {sample.image_path: None for sample, facts in pairs if facts is None}
    return [facts for facts in found if facts is not None], unreadable


def _print(scores: FactScores) -> None:
    from clad.reports.tables import align_columns, format_fraction

    if scores.undefined is not None:
        print(f"undefined: {scores.undefined}")
        return
    cells = [["fact", "AUROC", "from", "to"]]
    for each in (*scores.facts, scores.without_bytes, scores.together):
        numbers = (each.auroc, each.interval.low, each.interval.high)
        cells.append([each.name, *map(format_fraction, numbers)])
    header, *lines = align_columns(cells)
    print("\n".join([header, "-" * len(header), *lines]))


def _sentence(scores: FactScores, command: str) -> str:
    best = max((*scores.facts, scores.together), key=lambda each: each.auroc)
    low, high = best.interval
    doubt = "" if low > 0.5 else " (chance lies in the interval: there are few files)"
    advice = (
        "a detector may learn the files instead of what they show: encode both classes alike, "
        f"{command} --reencode DIR"
    )
    if scores.is_by_content:
        advice = "lengths alone tell, which what is shown can change, too: look at some pictures"
    return (
        f"labels are told from files alone with AUROC {best.auroc:.3f} ({low:.3f} to {high:.3f})"
        f"{doubt}, by {', '.join(each.name for each in scores.telling)}; {advice}"
    )


def _shared(found: Shared) -> Iterator[str]:
    for groups, where in (
        (found.across_labels, "of both labels"),
        (found.across_roles, "in two roles"),
    ):
        if groups:
            one, other = groups[0][0].image_path, groups[0][1].image_path
            yield f"equal files {where}: {len(groups)}, such as {one} and {other}; remove them"
    if found.groups:
        yield (
            f"videos or people in two roles: {len(found.groups)}, such as {found.groups[0]}; split "
            "by group"
        )
    if found.within:
        print(f"equal files within a role, of one label: {len(found.within)}")
    if found.num_without_group:
        print(f"files whose video or person is not known: {found.num_without_group}")


def _reencode(wanted: Namespace, data: AnomalyDataModule, splits: Splits) -> None:
    from clad.data.reencode import reencode

    if not data.source.is_layout or data.root is None:
        raise UsageError(
            f"expected images in a layout of folders to copy, got {data.source.name}, whose lists "
            "name files; encode its images alike by yourself"
        )
    samples = (*splits.train, *splits.validation, *splits.test)
    count = reencode(samples, data.root, wanted.reencode, data.image_size, wanted.encoding)
    height, width = data.image_size
    print(f"{count} images written to {wanted.reencode}, {height} x {width}, {wanted.encoding}")
