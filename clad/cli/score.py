"""``clad score PATH``: scores an image or a folder, with no data set around it."""

from __future__ import annotations

import random
import shlex
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from clad.cli import score_faces
from clad.cli.config_files import check_files, find_recipe
from clad.cli.errors import DONE, FAILED, Parser, UsageError
from clad.cli.run_folders import create_run_dir, remove_if_empty
from clad.cli.score_inputs import ImageFiles, Unreadable, choose_normal, expect_way, find_images
from clad.cli.score_threshold import add_threshold_options

if TYPE_CHECKING:
    from clad.data.cache import PixelCache
    from clad.detector import Detector

FEW_SHOT = "few_shot.yaml"
MOST_NORMALS = 400
"""More normal images than these are not looked at: a memory of fixed size gains little."""

_RUNS = "score"
_PICTURE_PX = 512
_PNG, _NONE = "png", "none"


def run(verb: str, arguments: list[str]) -> int:
    """Score images, print a table, write ``scores.csv`` and one picture per image.

    With ``--head deepfake`` the faces of photos and videos (``clad.cli.score_faces``).
    Returns 1 if an image could not be read; the others are scored all the same.

    Raises:
        FileNotFoundError: If an image, folder, recipe or run is missing.
        ValueError: If no meaningful score can be had from what was given.
    """
    if score_faces.is_asked_for(arguments):
        return score_faces.run(verb, arguments)
    wanted = _parser(verb).parse_args(arguments)
    expect_way(wanted)
    images = find_images(wanted.path)
    normal = None
    if wanted.normal is not None:
        normal = choose_normal(wanted.normal, wanted.k or MOST_NORMALS, random.Random(wanted.seed))
        images = images.without(normal.paths)
    recipes = wanted.config
    if not recipes and wanted.model is None:
        recipes = [find_recipe(FEW_SHOT)]
    check_files(recipes)
    # What is imported here takes longer than everything above.
    from clad.cli.quiet import quieten

    quieten()
    unreadable = Unreadable()
    detector = _build(wanted, recipes)
    detector.cache = _cache(wanted.cache)
    if wanted.threshold is not None or wanted.false_alarms is not None:
        detector.set_threshold(wanted.threshold, wanted.false_alarms)
    if normal is not None:
        _observe(detector, normal, wanted, unreadable)
    from clad.cli.standing import source_lines

    print("\n".join(source_lines(detector)), flush=True)
    folder = wanted.output or create_run_dir(_RUNS, datetime.now().astimezone())
    try:
        _score(detector, images, wanted, folder, unreadable)
    finally:
        if wanted.output is None:
            remove_if_empty(folder)
    if not unreadable.names:
        return DONE
    print(unreadable.summary())
    return FAILED


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        description="Score an image, or all images in a folder, without setting up a data set. "
        "Beside normal images, by a trained run, or by a recipe whose image and text weights were "
        "trained together.",
        epilog=f"`clad {verb} PATH {score_faces.HEAD} {score_faces.DEEPFAKE}` scores the faces of "
        f"photos and videos; its own options: `clad {verb} {score_faces.HEAD} "
        f"{score_faces.DEEPFAKE} --help`.",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="an image or a folder of images")
    parser.add_argument(
        "--object",
        metavar="NAME",
        help="what the images show, such as 'metal nut'; words are looked up by it",
    )
    parser.add_argument(
        "--normal", metavar="DIR", type=Path, help="folder of normal images to compare with"
    )
    parser.add_argument(
        "--k",
        metavar="K",
        type=int,
        help=f"use K of the normal images, drawn at random; default all, up to {MOST_NORMALS}",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="recipe that needs no training; more than one are laid over each other; default "
        f"configs/recipes/{FEW_SHOT}",
    )
    parser.add_argument(
        "--model", metavar="RUN", type=Path, help="run directory of `clad fit`, or its checkpoint"
    )
    add_threshold_options(parser)
    _add_output_options(parser)
    return parser


def _add_output_options(parser: Parser) -> None:
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="where scores.csv and maps/ go; default runs/score/TIME",
    )
    parser.add_argument(
        "--precision",
        choices=("32", "bf16", "auto"),
        default="32",
        help="numbers that the image encoder calculates with; auto takes bfloat16 where the "
        "hardware has units for it; default 32",
    )
    parser.add_argument(
        "--maps",
        choices=[_PNG, _NONE],
        default=_PNG,
        help="whether a picture of each heat map is written; default png",
    )
    parser.add_argument(
        "--map-px",
        metavar="PX",
        type=int,
        default=_PICTURE_PX,
        help=f"longest side of the pictures; default {_PICTURE_PX}, never above the image's own",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        type=Path,
        help="keep decoded images there, so that the next call on the same files decodes none",
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=42, help="decides which normal images are drawn"
    )


def _build(wanted: Namespace, recipes: Sequence[Path]) -> Detector:
    """The detector; a mistake in a recipe is explained as `clad fit` explains it."""
    from jsonargparse import ArgumentError
    from omegaconf.errors import OmegaConfBaseException

    from clad.cli.config_errors import Vocabulary, explain
    from clad.detector import Detector
    from clad.tasks.anomaly_model import AnomalyModel
    from clad.tasks.recipe import recipe_parser

    try:
        if wanted.model is not None:
            print(f"model: {wanted.model}", flush=True)
            return Detector.load(wanted.model, precision=wanted.precision)
        print(f"recipe: {shlex.join(map(str, recipes))}", flush=True)
        return Detector.from_config(recipes, wanted.object, precision=wanted.precision)
    except (ArgumentError, OmegaConfBaseException) as error:
        options = [action.dest for action in recipe_parser()._actions]
        words = Vocabulary("clad fit", options, {"model": AnomalyModel})
        raise UsageError(explain(str(error), words)) from error


def _cache(folder: Path | None) -> PixelCache | None:
    from clad.data.cache import PixelCache

    return None if folder is None else PixelCache(folder)


def _observe(
    detector: Detector, normal: ImageFiles, wanted: Namespace, unreadable: Unreadable
) -> None:
    seen = detector.observe_normal(normal.paths, wanted.object, wanted.seed, unreadable.note)
    parts = [f"{seen.num_references} to compare with"] if seen.num_references else []
    parts += [f"{seen.num_held_out} held out for the threshold"] if seen.num_held_out else []
    used = seen.num_references + seen.num_held_out
    print(f"normal: {used} of {normal.num_found} images in {wanted.normal}, {', '.join(parts)}")


def _score(
    detector: Detector,
    images: ImageFiles,
    wanted: Namespace,
    folder: Path,
    unreadable: Unreadable,
) -> None:
    """Score, write and print."""
    from clad.cli.predictions import MAPS, SCORES, PredictionWriter
    from clad.cli.score_table import table

    has_maps = wanted.maps != _NONE
    detector.picture_px = wanted.map_px if has_maps else None
    writer = PredictionWriter(folder)
    scored = []
    for image in detector.score_each(images.paths, wanted.object, unreadable.note):
        scored.append(image.without_map())
        writer.add_image(image if has_maps else scored[-1])
    if not scored:
        raise UsageError(
            f"expected at least one image that can be read, got {unreadable.summary()}"
        )
    limit = scored[0].threshold
    written = writer.finish(None if limit is None else {scored[0].category: limit})
    print(table(scored, images.root))
    called = "" if written.num_called is None else f", {written.num_called} called anomalous"
    print(f"{written.num_images} image{'s' * (written.num_images != 1)}{called}")
    print(f"scores: {folder / SCORES}")
    if written.has_maps:
        print(f"maps: {folder / MAPS}")
