"""Photos and videos that a command looks at, and the face detector that a YAML names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clad.cli.config_files import check_files
from clad.cli.errors import UsageError, one_sentence
from clad.data.files import IMAGE_SUFFIXES, is_image, list_folders
from clad.faces.video_files import VIDEO_SUFFIXES, is_video

if TYPE_CHECKING:
    from clad.faces.base import FaceDetector

DETECTOR = "cascade.yaml"
MASKS = "masks"
_KEY = "detector"


class Media(NamedTuple):
    """Files of one folder, sorted by relative path.

    Args:
        root: Folder that their names are shown from.
        paths: Photos and videos.
        masks: Those in folders ``masks``.
    """

    root: Path
    paths: tuple[Path, ...]
    masks: tuple[Path, ...]


def find_media(path: Path) -> Media:
    """One file, whatever its name, or all photos and videos below a folder; hidden ones left out.

    Raises:
        FileNotFoundError: If there is nothing, or neither photo nor video in the folder.
    """
    if path.is_file():
        return Media(path.parent, (path,), ())
    if not path.is_dir():
        raise FileNotFoundError(
            f"expected a photo, a video or a folder of them, found nothing at {path}; check the "
            "path"
        )
    found = sorted(_below(path), key=lambda each: each.relative_to(path).as_posix())
    masks = tuple(each for each in found if MASKS in each.relative_to(path).parts[:-1])
    paths = tuple(each for each in found if each not in set(masks))
    if not paths:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        raise FileNotFoundError(
            f"expected photos or videos in {path}, found none; their names end in {suffixes}"
        )
    return Media(path, paths, masks)


def _below(folder: Path) -> list[Path]:
    own = [p for p in folder.iterdir() if p.is_file() and (is_image(p) or is_video(p))]
    return own + [path for inner in list_folders(folder) for path in _below(inner)]


def default_detector() -> Path:
    """``configs/faces/cascade.yaml`` beside the package (a clone), else below this folder.

    Raises:
        FileNotFoundError: If it is in neither place.
    """
    for place in (Path(__file__).parents[2], Path()):
        path = place / "configs" / "faces" / DETECTOR
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"expected configs/faces/{DETECTOR} beside the package or here, found none; name a "
        "detector's YAML, which are part of the repository"
    )


def load_detector(path: Path) -> FaceDetector:
    """The detector of a YAML with the one key ``detector``.

    Raises:
        FileNotFoundError: If the file, or one that the detector needs, is not there.
        UsageError: If it sets something else, or sets it wrongly.
    """
    check_files([path])
    import yaml
    from jsonargparse import ArgumentError, ArgumentParser

    from clad.faces.base import FaceDetector

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if set(content) != {_KEY}:
        raise UsageError(
            f"expected the one key `{_KEY}:` in {path}, got {', '.join(map(str, content))}; "
            "see configs/faces/"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{_KEY}", type=FaceDetector)
    try:
        parsed = parser.parse_object(content)
    except ArgumentError as error:
        raise UsageError(
            f"expected a face detector in {path}, got: {one_sentence(str(error))}"
        ) from error
    detector: FaceDetector = parser.instantiate_classes(parsed).detector
    return detector
