"""Finding image files and their masks: one order, one idea of what an image file is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
MASK_SUFFIX = "_mask"
_NUM_SHOWN = 5


def is_image(path: Path) -> bool:
    """Whether the name is that of an image and not hidden (``.name``)."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def list_folders(folder: Path) -> list[Path]:
    """Visible folders directly inside, sorted by name."""
    found = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted(found, key=lambda p: p.name)


def list_images(folder: Path, nested: bool = False) -> list[Path]:
    """Image files inside, sorted by relative path, hidden ones left out.

    Args:
        folder: Where to look; a folder that is not there holds no image.
        nested: Whether to descend into visible sub-folders, too.
    """
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.is_file() and is_image(p)]
    if nested:
        for inner in list_folders(folder):
            found += list_images(inner, nested=True)
    return sorted(found, key=lambda p: p.relative_to(folder).as_posix())


def has_images(folder: Path) -> bool:
    """Whether ``list_images(folder, nested=True)`` would find any; stops at the first."""
    entries = [p for p in folder.iterdir() if not p.name.startswith(".")]
    return any(is_image(p) and p.is_file() for p in entries) or any(
        has_images(p) for p in entries if p.is_dir()
    )


def count_other_files(folder: Path) -> int:
    """Number of visible files below ``folder`` that are not images."""
    own = sum(
        p.is_file() and not is_image(p) and not p.name.startswith(".") for p in folder.iterdir()
    )
    return own + sum(count_other_files(inner) for inner in list_folders(folder))


def mask_key(path: Path) -> str:
    """Stem of the image that a mask file belongs to: ``000_mask.png`` and ``000.png`` -> 000."""
    return path.stem.removesuffix(MASK_SUFFIX)


def index_masks(paths: Iterable[Path]) -> dict[str, Path]:
    """Mask files by the stem of their image.

    Raises:
        ValueError: If two files claim the same image.
    """
    index: dict[str, Path] = {}
    for path in paths:
        first = index.setdefault(mask_key(path), path)
        if first != path:
            raise ValueError(
                f"expected one mask per image, got {first} and {path}; remove one of them"
            )
    return index


def pair_masks(images: Sequence[Path], masks: Mapping[str, Path]) -> list[Path | None]:
    """The mask of each image by stem, None where there is none."""
    return [masks.get(image.stem) for image in images]


def inside(root: Path, relative: str, where: str) -> Path:
    """``root / relative``, for names read from a file.

    Args:
        root: Folder that must not be left.
        relative: Name with forward slashes.
        where: File and line that the name was read from, for the message.

    Raises:
        ValueError: If the name is absolute, climbs out with ``..`` or is empty.
    """
    name = PurePosixPath(relative)
    if not relative or name.is_absolute() or ".." in name.parts or "\\" in relative:
        raise ValueError(
            f"expected a path inside {root}, got {relative!r} in {where}; "
            "use relative paths with forward slashes and without `..`"
        )
    return root / name


def shown(items: Iterable[object]) -> str:
    """The first few items, and how many more there are."""
    names = [str(item) for item in items]
    rest = len(names) - _NUM_SHOWN
    return ", ".join(names[:_NUM_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
