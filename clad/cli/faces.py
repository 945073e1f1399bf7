"""``clad faces ROOT --output DIR``: crops of the faces of photos and videos."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from clad.cli.errors import DONE, FAILED, Parser, UsageError, one_sentence
from clad.cli.face_media import MASKS, Media, default_detector, find_media, load_detector

if TYPE_CHECKING:
    from clad.cli.face_crops import CropWriter

_INDEX = "faces.csv"
_TOLD_EVERY = 0.1
_FEWEST_TOLD = 50


def run(verb: str, arguments: list[str]) -> int:
    """Cut faces, print counts. Returns 1 if a file could not be read; the others are done.

    Raises:
        FileNotFoundError: If there is no photo or video, or the detector lacks a file.
        ValueError: If an option is out of range, or crops would be written over others.
    """
    wanted = _parser(verb).parse_args(arguments)
    _expect_numbers(wanted)
    media = find_media(wanted.root)
    _expect_new_folder(wanted.output, media)
    config = wanted.config or default_detector()
    detector = load_detector(config)
    from clad.cli.face_crops import CropWriter, expect_own_crops, pair_masks

    expect_own_crops(media)
    masks = pair_masks(media) if wanted.masks else {}
    print(f"faces: {config}", flush=True)
    if media.masks and not wanted.masks:
        count = len(media.masks)
        print(f"left out: {count} files in folders `{MASKS}`; --masks cuts them like their frames")
    writer = CropWriter(
        media.root, wanted.output, detector, wanted.frames, wanted.margin, wanted.size, wanted.align
    )
    failed = 0
    try:
        failed = _cut_all(writer, media, {source: mask for mask, source in masks.items()})
    finally:
        writer.finish()
    if wanted.masks and len(masks) < len(media.masks):
        print(f"{len(media.masks) - len(masks)} masks without a photo or video beside them")
    _summarise(writer, wanted.masks)
    return FAILED if failed else DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        description="Find the faces in all photos and videos of a folder and write square crops of "
        "them, laid out as the folder is, with faces.csv (where each was cut) and landmarks.csv.",
    )
    add = parser.add_argument
    add("root", metavar="ROOT", type=Path, help="a folder of photos and videos, or one of them")
    add("--output", metavar="DIR", type=Path, required=True, help="where crops and tables go")
    add(
        "--config", metavar="FILE", type=Path,
        help="face detector; default configs/faces/cascade.yaml",
    )  # fmt: skip
    add("--frames", metavar="N", type=int, default=32, help="frames per video; default 32")
    add(
        "--margin", metavar="X", type=float, default=1.3,
        help="side of a crop as a multiple of the face's longer side; default 1.3",
    )  # fmt: skip
    add("--size", metavar="PX", type=int, default=256, help="side of the crops; default 256")
    add("--align", action="store_true", help="turn faces upright by their landmarks")
    add(
        "--masks", action="store_true",
        help="also cut the masks in folders `masks`, with the boxes of their frames",
    )  # fmt: skip
    return parser


def _expect_numbers(wanted: Namespace) -> None:
    from clad.checks import expect_range

    expect_range("--frames", wanted.frames, 1, float("inf"))
    expect_range("--margin", wanted.margin, 0.1, 10)
    expect_range("--size", wanted.size, 1, 8192)


def _expect_new_folder(output: Path, media: Media) -> None:
    if output.absolute().is_relative_to(media.root.absolute()):
        raise UsageError(
            f"expected --output outside of {media.root}, got {output}; crops would be cut again by "
            "the next call"
        )
    if (output / _INDEX).exists():
        raise UsageError(
            f"expected a folder without {_INDEX} for --output, found one in {output}; choose "
            "another folder, or remove it"
        )


def _cut_all(writer: CropWriter, media: Media, mask_of: dict[Path, Path]) -> int:
    """How many files could not be read."""
    failed, total = 0, len(media.paths)
    step = max(1, round(_TOLD_EVERY * total))
    for done, path in enumerate(media.paths, 1):
        failed += _cut_one(writer, path, mask_of.get(path))
        if total >= _FEWEST_TOLD and not done % step:
            print(f"{done} of {total} files", flush=True)
    return failed


def _cut_one(writer: CropWriter, path: Path, mask: Path | None) -> bool:
    """Whether the file or its mask could not be read."""
    try:
        frames, remark = writer.read(path)
    except (ValueError, OSError) as error:
        _say("unreadable", str(error))
        return True
    if remark:
        _say("truncated", remark)
    cuts = writer.cut(path, frames)
    if mask is not None:
        try:
            writer.cut_masks(mask, cuts)
        except (ValueError, OSError) as error:
            _say("mask left out", str(error))
            return True
    return False


def _say(what: str, sentence: str) -> None:
    print(f"{what}: {one_sentence(sentence)}", file=sys.stderr, flush=True)


def _summarise(writer: CropWriter, has_masks: bool) -> None:
    counts = writer.counts
    print(
        f"{counts.files} files, {counts.frames} frames, {counts.faces} faces, "
        f"{counts.without_face} frames without a face (the whole frame is the crop)"
    )
    if has_masks:
        print(f"{counts.masks} crops of masks")
    print(f"crops: {writer.output}")
