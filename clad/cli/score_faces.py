"""``clad score PATH --head deepfake``: faces of photos and videos, scored by a trained run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from clad.cli.errors import DONE, FAILED, Parser, UsageError
from clad.cli.face_media import Media, default_detector, find_media, load_detector
from clad.cli.run_folders import create_run_dir, remove_if_empty
from clad.cli.score_threshold import add_threshold_options

if TYPE_CHECKING:
    from clad.detector import Detector
    from clad.forensics import Forensics, ScoredFile
    from clad.metrics.settings import VideoScore

HEAD, DEEPFAKE = "--head", "deepfake"
RULES: dict[str, VideoScore] = {"mean": "mean", "max": "max", "top": "top_k"}
"""What --video-score takes, and the name of the rule."""

_RUNS = "score"
_FACE = "face"


def is_asked_for(arguments: Sequence[str]) -> bool:
    """Whether ``--head`` is among the words."""
    return any(word == HEAD or word.startswith(f"{HEAD}=") for word in arguments)


def run(verb: str, arguments: list[str]) -> int:
    """Score photos and videos, print what was found in each, write tables and pictures.

    Returns 1 if nothing could be scored.

    Raises:
        FileNotFoundError: If the path, the run or the detector is missing.
        ValueError: If no meaningful score can be had from what was given.
    """
    wanted = _parser(verb).parse_args(arguments)
    media = find_media(wanted.path)
    faces = wanted.faces or default_detector()
    # What is imported here takes longer than everything above.
    from clad.cli.quiet import quieten

    quieten()
    model = wanted.model or _newest()
    finder = load_detector(faces)
    print(f"model: {model}\nfaces: {faces}", flush=True)
    from clad.detector import Detector
    from clad.forensics import Forensics

    detector = Detector.load(model)
    if wanted.threshold is not None or wanted.false_alarms is not None:
        detector.set_threshold(wanted.threshold, wanted.false_alarms)
    forensics = Forensics(
        detector,
        finder,
        category_of(detector, wanted.object),
        wanted.frames,
        RULES[wanted.video_score],
        wanted.top,
        wanted.size,
        wanted.margin,
        wanted.align,
    )
    from clad.cli.standing import source_lines

    print("\n".join(source_lines(detector)), flush=True)
    folder = wanted.output or create_run_dir(_RUNS, datetime.now().astimezone())
    try:
        return _score(forensics, media, folder, wanted)
    finally:
        if wanted.output is None:
            remove_if_empty(folder)


def _newest() -> Path:
    from clad.cli.face_runs import newest_face_run

    return newest_face_run()


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb} {HEAD} {DEEPFAKE}",
        description="Score the faces of a photo, a video, or a folder of both, by a run that was "
        "trained on faces. A photo without a face is scored as a whole, and says so.",
    )
    add = parser.add_argument
    add("path", metavar="PATH", type=Path, help="a photo, a video or a folder of them")
    add(HEAD, choices=[DEEPFAKE], required=True, help="what is looked for")
    add(
        "--model", metavar="RUN", type=Path,
        help="run directory of `clad fit`, or its checkpoint; default the newest run on faces",
    )  # fmt: skip
    add(
        "--faces", metavar="FILE", type=Path,
        help="face detector; default configs/faces/cascade.yaml",
    )  # fmt: skip
    add("--frames", metavar="N", type=int, default=32, help="frames per video; default 32")
    add(
        "--video-score", choices=list(RULES), default="mean",
        help="score of a video: mean of its frames (default), their max, or mean of the top few",
    )  # fmt: skip
    add("--top", metavar="K", type=int, default=5, help="how many frames `top` takes; default 5")
    add(
        "--margin", metavar="X", type=float, default=1.3,
        help="side of a crop as a multiple of the face, as in the training data; default 1.3",
    )  # fmt: skip
    add("--size", metavar="PX", type=int, default=256, help="side of the crops; default 256")
    add("--align", action="store_true", help="turn faces upright first, if training data were")
    add_threshold_options(parser)
    add("--object", metavar="NAME", help="which category faces are, for runs that know several")
    add(
        "--output", metavar="DIR", type=Path,
        help="where scores.csv, face_scores.csv and maps/ go; default runs/score/TIME",
    )  # fmt: skip
    return parser


def category_of(detector: Detector, wanted: str | None) -> str:
    """The category that faces are of: the one asked for, the only one, or ``face``.

    Raises:
        UsageError: If the run knows several, none of them ``face``.
    """
    if wanted is not None:
        return wanted
    known = detector.categories
    if len(known) == 1:
        return known[0]
    if _FACE in known:
        return _FACE
    raise UsageError(
        f"expected one of the categories {', '.join(known)} for the faces, got none; give it with "
        "--object"
    )


def _score(forensics: Forensics, media: Media, folder: Path, wanted: Namespace) -> int:
    """Score file by file, print and write."""
    from clad.cli.face_pictures import MAPS, FacePictures
    from clad.cli.face_tables import FACES, SCORES, lines_of, without_pixels, write_tables

    pictures = FacePictures(folder / MAPS, media.paths)
    kept, has_maps = [], False
    rule = f"top {wanted.top}" if wanted.video_score == "top" else wanted.video_score
    for path in media.paths:
        scored = forensics.score(path)
        print("\n".join(lines_of(scored, media.root, rule)), flush=True)
        has_maps |= pictures.add(scored)
        kept.append(without_pixels(scored))
    write_tables(folder, kept)
    pictures.finish()
    _summarise(kept)
    print(f"scores: {folder / SCORES}\nfaces: {folder / FACES}")
    if not any(scored.frames for scored in kept):
        return FAILED
    print(f"maps: {folder / MAPS}")
    if not has_maps:
        head = type(forensics.detector.task.head).__name__
        print(f"the pictures show boxes only: {head} gives no maps")
    return DONE


def _summarise(files: Sequence[ScoredFile]) -> None:
    readable = [scored for scored in files if scored.score is not None]
    has_threshold = any(scored.threshold is not None for scored in readable)
    if has_threshold and any(scored.is_video for scored in readable):
        print("videos are compared with a threshold that was fitted on single images")
    fake = sum(bool(scored.is_fake) for scored in readable)
    called = f", {fake} called fake" if has_threshold else ""
    print(f"{len(readable)} of {len(files)} files scored{called}")
