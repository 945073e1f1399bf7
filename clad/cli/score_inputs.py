"""Which files `clad score` looks at, and what it refuses before anything slow is imported."""

from __future__ import annotations

import random
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clad.cli.errors import UsageError, one_sentence
from clad.data.files import list_images


@dataclass(frozen=True)
class ImageFiles:
    """Images of one folder.

    Args:
        root: Folder that their names are shown from.
        paths: Those that are used, sorted.
        num_found: How many there are.
    """

    root: Path
    paths: tuple[Path, ...]
    num_found: int

    def without(self, others: Sequence[Path]) -> ImageFiles:
        """The images less those of another role, which would be compared with themselves.

        Raises:
            UsageError: If none is left.
        """
        taken = {path.resolve() for path in others}
        kept = tuple(path for path in self.paths if path.resolve() not in taken)
        if not kept:
            raise UsageError(
                f"expected images to score beside the normal ones, got only those in {self.root}; "
                "an image compared with itself says nothing: name other images, or --k fewer"
            )
        if len(kept) < len(self.paths):
            left_out = len(self.paths) - len(kept)
            print(f"left out: {left_out} of the images, which are normal ones to compare with")
        return ImageFiles(self.root, kept, self.num_found)


@dataclass
class Unreadable:
    """Images that could not be read; each is named on stderr when it is met."""

    names: list[str] = field(default_factory=list)

    def note(self, name: str, error: Exception) -> None:
        """Name one."""
        self.names.append(name)
        print(f"unreadable: {one_sentence(str(error))}", file=sys.stderr, flush=True)

    def summary(self) -> str:
        """How many there were."""
        count = len(self.names)
        return f"{count} image{'s' * (count != 1)} that could not be read"


def expect_way(wanted: Namespace) -> None:
    """Refuse what cannot give a meaningful score, whatever the images are.

    Raises:
        UsageError: If there is nothing to score by, or two things that exclude each other.
    """
    if wanted.model is not None and wanted.config:
        raise UsageError(
            "expected --model or --config, got both; a run brings its own configuration"
        )
    if wanted.k is not None and wanted.normal is None:
        raise UsageError(
            "expected --normal DIR beside --k, got none; name the folder of normal images"
        )
    if wanted.k is not None and wanted.k < 1:
        raise UsageError(f"expected --k to be at least 1, got {wanted.k}")
    if wanted.false_alarms is not None and wanted.normal is None and wanted.model is None:
        raise UsageError(
            "expected --normal DIR or --model RUN beside --false-alarms, got neither; a threshold "
            "for a share of false alarms is fitted on scores of normal images"
        )
    if wanted.map_px < 1:
        raise UsageError(f"expected --map-px to be at least 1, got {wanted.map_px}")
    if wanted.normal is None and wanted.model is None and not wanted.config:
        raise UsageError(
            "expected --normal DIR, --model RUN or --config FILE, got none: the image and text "
            "weights of the packaged tower were never trained together, so a score from the "
            "object's name alone would mean nothing; give a few normal images with --normal DIR, "
            "or CLIP weights with --config configs/recipes/winclip.yaml"
        )


def find_images(path: Path) -> ImageFiles:
    """One image, or those of a folder and of the folders in it.

    Raises:
        FileNotFoundError: If there is nothing, or no image in the folder.
    """
    if path.is_file():
        return ImageFiles(path.parent, (path,), 1)
    return _in_folder(path, "an image or a folder of images")


def choose_normal(folder: Path, most: int, random_numbers: random.Random) -> ImageFiles:
    """Normal images of a folder and of the folders in it, drawn at random if there are more.

    Raises:
        FileNotFoundError: If there is no folder, or no image in it.
    """
    if folder.is_file():
        raise FileNotFoundError(
            f"expected --normal to be a folder of images, found a file at {folder}; name its folder"
        )
    found = _in_folder(folder, "--normal to be a folder of images")
    if len(found.paths) <= most:
        return found
    drawn = tuple(sorted(random_numbers.sample(found.paths, most)))
    return ImageFiles(folder, drawn, found.num_found)


def _in_folder(folder: Path, what: str) -> ImageFiles:
    if not folder.is_dir():
        raise FileNotFoundError(f"expected {what}, found nothing at {folder}; check the path")
    paths = tuple(list_images(folder, nested=True))
    if not paths:
        raise FileNotFoundError(
            f"expected {what}, found no image in {folder}; images end in .png, .jpg, .bmp, .tif, "
            ".webp, .ppm or .pgm"
        )
    return ImageFiles(folder, paths, len(paths))
