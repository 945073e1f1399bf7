"""Videos that are stored as folders of frames or of face crops."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from clad.data.face_tables import FaceTables
from clad.data.files import has_images, index_masks, list_folders, list_images, mask_key
from clad.data.images import stored_size
from clad.faces.video import spaced
from clad.faces.video_files import is_video
from clad.samples import GOOD, Origin, Sample

CATEGORY, FAKE = "face", "fake"
MEDIA_FOLDERS = ("faces", "frames", "images", "videos")
"""Where a data set keeps its frames; the first that holds images is read."""

_CROP = re.compile(r"(\d+)(?:_\d+)?")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Clip:
    """A video as a folder of stored frames, or of crops of their faces.

    Args:
        name: Folder relative to the root, with forward slashes; ``Origin.video`` of its frames.
        folder: Where the frames lie.
        label: 1 fake, 0 real.
        method: Name of the manipulation, ``good`` for a real video.
        role: ``train``, ``validation``, ``test``, or empty where the owner stored none.
        people: Names of all that it may not be torn apart from: identities, source video.
        mask_folder: Where masks of the frames lie, under the same names.
    """

    name: str
    folder: Path
    label: int
    method: str = GOOD
    role: str = ""
    people: tuple[str, ...] = ()
    mask_folder: Path | None = None


def stored_clips(folder: Path) -> list[Path]:
    """Folders of frames in ``folder``, or in its ``faces/``, ``frames/``, ``images/``, ``videos/``.

    Sorted by name; empty where there is no such folder or no image.
    """
    if not folder.is_dir():
        return []
    media = (folder / name for name in MEDIA_FOLDERS)
    found = next((inner for inner in media if inner.is_dir() and has_images(inner)), folder)
    return [clip for clip in list_folders(found) if has_images(clip)]


def folders_of_images(folder: Path) -> list[Path]:
    """All folders at or below ``folder`` that hold images themselves, sorted by path."""
    return sorted({path.parent for path in list_images(folder, nested=True)})


def list_videos(folder: Path) -> list[Path]:
    """Video files at or below ``folder``, sorted, hidden ones left out."""
    found = [path for path in folder.iterdir() if path.is_file() and is_video(path)]
    for inner in list_folders(folder):
        found += list_videos(inner)
    return sorted(found)


def refuse_without_frames(folder: Path, root: Path) -> ValueError:
    """What to raise where images were expected, with the command that makes them of videos."""
    videos = list_videos(folder)
    if not videos:
        return ValueError(
            f"expected folders of frames or face crops in {folder}, found no image; check data.root"
        )
    target = root.resolve().parent / f"{root.resolve().name}_faces"
    return ValueError(
        f"expected folders of frames or face crops in {folder}, got {len(videos)} video(s), e.g. "
        f"{videos[0].name}; run: clad faces {root} --output {target}, copy the owner's lists "
        "there, and set data.root to it"
    )


def frames_of(clip: Clip, tables: FaceTables) -> list[tuple[str, list[Path]]]:
    """Frames of a clip by number, each with its crops.

    The number is that of ``faces.csv``, else that of the file: ``000012_1`` is a face of frame 12.
    """
    found: dict[str, list[Path]] = {}
    for path in list_images(clip.folder, nested=True):
        row = tables.row(path)
        if row is None:
            crop = _CROP.fullmatch(path.stem)
            frame = crop[1] if crop else path.relative_to(clip.folder).with_suffix("").as_posix()
        else:
            frame = f"{row.frame:06d}" if row.video else PurePosixPath(row.source).stem
        found.setdefault(frame, []).append(path)
    return sorted(found.items(), key=lambda item: (_last_number(item[0]), item[0]))


def evenly_spaced(items: Sequence[_T], number: int | None) -> list[_T]:
    """``number`` items from the first to the last, as in videos; None keeps all."""
    if number is None:
        return list(items)
    return [items[place] for place in spaced(len(items), number)]


def samples_of(
    clip: Clip, group: str, category: str, tables: FaceTables, frames_per_video: int | None
) -> list[Sample]:
    """Every crop of the chosen frames.

    Args:
        clip: The video.
        group: What a split may not tear apart.
        category: Of all its samples.
        tables: Of the root: where crops come from, landmarks.
        frames_per_video: Frames taken, evenly spaced; None takes all.
    """
    chosen = evenly_spaced(frames_of(clip, tables), frames_per_video)
    masks = masks_of(clip, chosen[0][1][0], tables) if chosen else {}
    samples = []
    for frame, paths in chosen:
        for path in paths:
            row = tables.row(path)
            origin = Origin(f"{clip.name}#{frame}", clip.name, row is None or row.has_face)
            samples.append(
                Sample(
                    path,
                    label=clip.label,
                    category=category,
                    defect_type=clip.method,
                    mask_path=masks.get(_below(path, clip.folder)),
                    group=group,
                    domain="face",
                    origin=origin,
                    landmarks=tables.points(path),
                )
            )
    return samples


def masks_of(clip: Clip, first: Path, tables: FaceTables) -> dict[str, Path]:
    """Masks by the name of their frame below the clip, without suffix.

    Empty where masks have another size than the clip's ``first`` image (those of whole frames
    beside crops), or where ``clad faces`` cut them as if they were photographs.
    """
    if clip.mask_folder is None or clip.label == 0:
        return {}
    paths = list_images(clip.mask_folder, nested=True)
    index = index_masks_below(paths, clip.mask_folder)
    own = index.get(_below(first, clip.folder), next(iter(paths), None))
    if own is None or tables.row(own) is not None or stored_size(own) != stored_size(first):
        return {}
    return index


def index_masks_below(paths: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Masks by the path of their image below ``folder``, without suffix and ``_mask``.

    Raises:
        ValueError: If two files claim the same image.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    return {
        (inner.relative_to(folder) / stem).as_posix(): path
        for inner, inside in by_folder.items()
        for stem, path in index_masks(inside).items()
    }


def _below(path: Path, folder: Path) -> str:
    relative = path.relative_to(folder)
    return (relative.parent / mask_key(relative)).as_posix()


def _last_number(text: str) -> int:
    numbers = re.findall(r"\d+", text)
    return int(numbers[-1]) if numbers else -1
