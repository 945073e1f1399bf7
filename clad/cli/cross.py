"""``clad cross``: train once on one data set, test on several others, and print one table."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clad.cli.config_files import check_files, recipe_name
from clad.cli.cross_sets import FaceSet, find_set
from clad.cli.errors import DONE, Parser, UsageError
from clad.cli.run_folders import last_checkpoint
from clad.cli.several import Planned, expect_no_places, open_output, plan, run_or_read

if TYPE_CHECKING:
    from clad.cli.session import Session
    from clad.reports.cross import CrossRow
    from clad.reports.run_directory import Run
    from clad.samples import Sample

_VIDEOS, _NOTES = "videos", "notes"
"""Keys of the run card: what was tested."""

_NO_FEW = ("shots", "anomalies_per_type", "reserved_per_type", "train_kinds")


def run(verb: str, arguments: list[str]) -> int:
    """Train a recipe on one set, test it there and on every other, print AUROC, AP and EER.

    Everything is listed, and compared for equal files, before the training starts. What is finished
    in ``--output`` is read back.

    Raises:
        FileNotFoundError: If a file or folder that was named is missing.
        ValueError: If a set is unknown, has no test images, or shares files with the training.
    """
    wanted, options = _parser(verb).parse_known_args(arguments)
    configs = [Path(name) for name in wanted.config]
    check_files([*configs, *([wanted.protocol] if wanted.protocol else [])])
    expect_no_places(options, "run")
    learned = find_set(wanted.train, wanted.protocol, "train")
    tested = [find_set(each, wanted.protocol, "test") for each in wanted.test]
    names = [learned.folder, *(each.folder for each in tested)]
    if len(set(names)) < len(names):
        raise UsageError(
            f"expected sets of different names, got {', '.join(names)}; put one before them, such "
            "as --test wild:real_fake=DIR"
        )
    _run(wanted, configs, options, learned, tested, shlex.join(["clad", verb, *arguments]))
    return DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        usage=f"clad {verb} --config RECIPE --train [NAME:]LAYOUT=DIR --test [NAME:]LAYOUT=DIR ... "
        "[--protocol FILE] [--output DIR] [options of clad fit]",
        description="Cross-data-set table: train a recipe on one set, test the same weights on its "
        "own test split and on those of others. LAYOUT is a file of configs/data/ without .yaml, "
        "the path of such a file, or a name in FILE.",
        epilog="Options of `clad fit` go to the training.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-c", "--config", metavar="RECIPE", action="append", required=True,
        help="what is trained; files that are named later win",
    )  # fmt: skip
    parser.add_argument(
        "--train", metavar="[NAME:]LAYOUT=DIR", required=True, help="the set to learn from"
    )
    parser.add_argument(
        "--test", metavar="[NAME:]LAYOUT=DIR", action="append", required=True,
        help="a set to be tested on; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", metavar="FILE", type=Path,
        help="how sets are read in a published protocol, such as configs/cross/faceforensics.yaml",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="DIR", type=Path,
        help="directory for all runs; default runs/RECIPE_cross/TIME",
    )  # fmt: skip
    return parser


def _run(
    wanted: Namespace,
    configs: Sequence[Path],
    options: Sequence[str],
    learned: FaceSet,
    tested: Sequence[FaceSet],
    command: str,
) -> None:
    from clad.cli.quiet import quieten
    from clad.reports.cross import JSON, to_text, write_cross

    quieten()
    words = [word for path in configs for word in ("--config", str(path))]
    training = plan(learned.name, [*words, *options, *_source(learned)])
    _expect_strangers(training, learned, tested)
    recipe = recipe_name(configs)
    folder = open_output(wanted.output, f"{recipe}_cross", JSON)
    print(f"training on {learned.name}", flush=True)
    found = run_or_read(training, folder, command, _facts)
    if found is None:
        return
    run_dir = folder / training.folder
    base = ["--config", str(run_dir / "config.yaml")]
    weights = ["--ckpt_path", str(last_checkpoint(run_dir))]
    rows = [_row(training, found, is_own=True)]
    for number, each in enumerate(tested, 1):
        print(f"target {number} of {len(tested)}: {each.name}", flush=True)
        planned = plan(each.name, [*base, *_source(each), *_plain(), *weights], "test")
        target = run_or_read(planned, folder, command, _facts)
        if target is not None:
            rows.append(_row(planned, target, is_own=False))
        write_cross(folder, rows, {"recipe": recipe, "command": command, "train": learned.name})
    print(f"\ntrained on {learned.name}\n{to_text(rows)}")
    for row in rows:
        print(f"{row.name}: {row.count}")
    print(f"results: {folder}")


def _source(chosen: FaceSet) -> list[str]:
    return [
        f"--data.source={json.dumps(chosen.source)}",
        f"--data.root={chosen.root}",
        "--data.categories=all",
    ]


def _plain() -> list[str]:
    """Options of the training that would change a target."""
    values = {"anomalies_per_type": "0"}
    return [f"--data.{name}={values.get(name, 'null')}" for name in _NO_FEW]


def _expect_strangers(training: Planned, learned: FaceSet, tested: Sequence[FaceSet]) -> None:
    """Refuse targets without test images, and those that share a file with the training."""
    import yaml

    from clad.cli.data_config import build_data
    from clad.data.overlap import expect_no_copies

    content = yaml.safe_load(training.config)["data"]
    own = build_data(content, "clad cross").splits
    seen = (*own.train, *own.validation)
    for each in tested:
        plain = dict.fromkeys(_NO_FEW) | {"anomalies_per_type": 0, "categories": "all"}
        group = {**content, **plain, "source": each.source, "root": str(each.root)}
        splits = build_data(group, "clad cross").splits
        if not splits.test:
            raise UsageError(
                f"expected test images of {each.name}, got none in {each.root}; "
                f"{' '.join(splits.notes)}"
            )
        expect_no_copies(f"the training on {learned.name}", seen, each.name, splits.test)


def _facts(session: Session) -> dict[str, Any]:
    """What the run card says of the images that are tested."""
    splits = session.data.splits
    return {_VIDEOS: count_videos(splits.test), _NOTES: list(splits.notes)}


def count_videos(samples: Sequence[Sample]) -> dict[str, int]:
    """Number of videos and of frames in them; empty where no image is of a video."""
    frames: dict[str, set[str]] = {}
    for sample in samples:
        if sample.origin is not None and sample.origin.video is not None:
            frames.setdefault(sample.origin.video, set()).add(sample.origin.frame)
    if not frames:
        return {}
    return {"videos": len(frames), "frames": sum(map(len, frames.values()))}


def _row(planned: Planned, found: Run, is_own: bool) -> CrossRow:
    from clad.reports.cross import CrossRow

    videos: Mapping[str, int] = found.card.get(_VIDEOS, {})
    labels = found.predictions.labels
    return CrossRow(
        name=planned.name,
        folder=planned.folder,
        is_own=is_own,
        mean=found.evaluation.mean,
        num_real=int((labels == 0).sum()),
        num_fake=int((labels == 1).sum()),
        num_videos=videos.get("videos", 0),
        num_frames=videos.get("frames", 0),
        notes=tuple(found.card.get(_NOTES, ())),
    )
