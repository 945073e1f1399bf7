"""Crops of the faces of photos and videos, their masks, and the tables beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clad.cli.errors import UsageError
from clad.cli.face_media import MASKS, Media
from clad.data.images import decode_image, decode_mask
from clad.faces.base import DetectedFace, FaceDetector, ImageArray
from clad.faces.crop import FaceCrop, crop_face, crop_mask
from clad.faces.index import (
    INDEX_NAME,
    LANDMARKS_NAME,
    FaceRow,
    Points,
    crop_name,
    write_index,
    write_landmarks,
)
from clad.faces.video import Frame, read_frames, read_numbered
from clad.faces.video_files import frame_path, is_video

_WHITE_FROM = 128
"""Videos are lossy, so their masks are cut in the middle, as those of JPEG files are."""


class Cut(NamedTuple):
    """A crop that was written: its row, and where it was cut."""

    row: FaceRow
    crop: FaceCrop


@dataclass
class Counts:
    """What was met."""

    files: int = 0
    frames: int = 0
    faces: int = 0
    without_face: int = 0
    masks: int = 0


class CropWriter:
    """Cuts faces out of one file after the other; the tables come at the end.

    Args:
        root: Folder that sources are named from.
        output: Folder of crops and tables.
        detector: Finds the faces.
        num_frames: Evenly spaced frames per video.
        margin: Side of a crop as a multiple of the box.
        size: Side of the crops in pixels.
        align: Whether faces are turned upright.
    """

    def __init__(
        self,
        root: Path,
        output: Path,
        detector: FaceDetector,
        num_frames: int,
        margin: float,
        size: int,
        align: bool,
    ) -> None:
        self.root = root
        self.output = output
        self.detector = detector
        self.num_frames = num_frames
        self.margin = margin
        self.size = size
        self.align = align
        self.counts = Counts()
        self._rows: list[FaceRow] = []
        self._landmarks: dict[str, Points] = {}

    def read(self, path: Path) -> tuple[Sequence[Frame], str]:
        """Frames of a photo or video, and a sentence if part of the file is missing.

        Raises:
            FileNotFoundError: If a photo is not there.
            ValueError: If nothing of the file can be read.
        """
        if not is_video(path):
            return [Frame(0, decode_image(path))], ""
        video = read_frames(path, self.num_frames)
        if not video.frames:
            raise ValueError(video.reason)
        return video.frames, video.reason

    def cut(self, path: Path, frames: Sequence[Frame]) -> list[Cut]:
        """Write the crops of a file; the whole frame where no face is found.

        Raises:
            ValueError: If faces shall be aligned and have no landmarks.
        """
        cuts = []
        for frame in frames:
            name = frame_path(path, frame.number) if is_video(path) else path
            faces = self.detector.detect(frame.image, name)
            cuts += self._cut(path, frame, faces or (None,))
        self.counts.files += 1
        self.counts.frames += len(frames)
        self._rows += [cut.row for cut in cuts]
        return cuts

    def cut_masks(self, path: Path, cuts: Sequence[Cut]) -> None:
        """Write the same crops of the mask of a file that was cut before.

        Args:
            path: Mask: an image or a video with the frames of the source.
            cuts: Of the source.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it cannot be read, or differs from the source in size or length.
        """
        numbers = sorted({cut.row.frame for cut in cuts})
        masks = _read_masks(path, numbers)
        for cut in cuts:
            mask, size = masks[cut.row.frame], (cut.row.height, cut.row.width)
            if mask.shape != size:
                raise ValueError(
                    f"expected the mask {path} to have the size {size} (height, width) of "
                    f"{cut.row.source}, got {mask.shape}; export it at that size"
                )
            name = crop_name(self._name(path), cut.row.frame, cut.row.face)
            _save(self.output / name, 255 * crop_mask(mask, cut.crop).astype(np.uint8))
        self.counts.masks += len(cuts)

    def finish(self) -> None:
        """Write ``faces.csv`` and, where the detector found landmarks, ``landmarks.csv``."""
        write_index(self.output / INDEX_NAME, self._rows)
        if self._landmarks:
            write_landmarks(self.output / LANDMARKS_NAME, self._landmarks)

    def _cut(self, path: Path, frame: Frame, faces: Sequence[DetectedFace | None]) -> list[Cut]:
        source, (height, width) = self._name(path), frame.image.shape[:2]
        cuts = []
        for number, face in enumerate(faces):
            crop = crop_face(frame.image, face, self.size, self.margin, self.align)
            name = crop_name(source, frame.number, number)
            top, left, bottom, right = (0, 0, height, width) if face is None else face.box
            row = FaceRow(
                image=name,
                source=source,
                video=is_video(path),
                frame=frame.number,
                face=number,
                top=top,
                left=left,
                bottom=bottom,
                right=right,
                width=width,
                height=height,
                confidence=0.0 if face is None else face.confidence,
                has_face=face is not None,
            )
            cuts.append(Cut(row, crop))
            _save(self.output / name, crop.image)
            if face is None:
                self.counts.without_face += 1
            else:
                self.counts.faces += 1
                if face.landmarks is not None:
                    self._landmarks[name] = crop.points(face.landmarks)
        return cuts

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def expect_own_crops(media: Media) -> None:
    """Refuse files whose crops would be written over each other.

    Raises:
        UsageError: With the first two.
    """
    seen: dict[str, str] = {}
    for path in (*media.paths, *media.masks):
        name = path.relative_to(media.root).as_posix()
        other = seen.setdefault(crop_name(name, 0, 0), name)
        if other != name:
            raise UsageError(
                f"expected one file per name, got {other} and {name}, whose crops go to the same "
                "folder; rename one of them"
            )


def pair_masks(media: Media) -> dict[Path, Path]:
    """Mask -> the photo or video beside it: ``a/masks/b/1.mp4`` -> ``a/ANY/b/1.mp4``.

    Raises:
        UsageError: If a mask has two, such as two compressions of one video.
    """
    sources: dict[tuple[str, str], list[Path]] = {}
    for path in media.paths:
        parts = PurePosixPath(path.relative_to(media.root).as_posix()).with_suffix("").parts
        for place in range(len(parts) - 1):
            key = "/".join(parts[:place]), "/".join(parts[place + 1 :])
            sources.setdefault(key, []).append(path)
    pairs = {}
    for mask in media.masks:
        parts = PurePosixPath(mask.relative_to(media.root).as_posix()).with_suffix("").parts
        place = len(parts) - 2 - parts[-2::-1].index(MASKS)
        found = sources.get(("/".join(parts[:place]), "/".join(parts[place + 1 :])), [])
        if len(found) > 1:
            names = " and ".join(p.relative_to(media.root).as_posix() for p in found[:2])
            raise UsageError(
                f"expected one photo or video beside the mask {mask.relative_to(media.root)}, got "
                f"{names}; cut one compression at a time"
            )
        if found:
            pairs[mask] = found[0]
    return pairs


def _read_masks(path: Path, numbers: Sequence[int]) -> Mapping[int, NDArray[np.bool_]]:
    if not is_video(path):
        return {0: decode_mask(path)}
    frames = read_numbered(path, numbers)
    return {frame.number: frame.image.max(axis=2) >= _WHITE_FROM for frame in frames}


def _save(path: Path, image: ImageArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
