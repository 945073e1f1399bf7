"""Videos -> evenly spaced frames, and a plain word for what a file gave."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clad.checks import expect_range
from clad.faces.base import ImageArray

Status = Literal["ok", "truncated", "unreadable", "no frames"]

_QUIET = "-8"
"""ffmpeg writes to stderr by itself; what it would say there is in the status."""


@dataclass(frozen=True)
class Frame:
    """One frame.

    Args:
        number: Counted from 0 among the frames that decode.
        image: (H, W, 3) uint8 RGB, upright.
    """

    number: int
    image: ImageArray


@dataclass(frozen=True)
class VideoFrames:
    """What was read of a video.

    Args:
        path: The file.
        frames: Evenly spaced, in order; fewer than asked for in a short video.
        num_asked: How many were asked for.
        num_decoded: How many frames of the file decode.
        num_promised: How many its header says; 0 where it says nothing.
        status: ``ok``; ``truncated`` if fewer decode than promised; ``no frames`` if the file opens
            and none decodes; ``unreadable`` if it does not open.
        reason: One sentence for every status but ``ok``; else empty.
    """

    path: Path
    frames: tuple[Frame, ...]
    num_asked: int
    num_decoded: int
    num_promised: int
    status: Status
    reason: str = ""


def spaced(num_decoded: int, num_wanted: int) -> list[int]:
    """Numbers of evenly spaced frames from the first to the last, each once.

    Args:
        num_decoded: Frames that there are.
        num_wanted: At most so many are taken.
    """
    count = min(num_wanted, num_decoded)
    return np.linspace(0, num_decoded - 1, count).round().astype(int).tolist() if count else []


def read_frames(path: Path, num_frames: int) -> VideoFrames:
    """Evenly spaced frames of a video; never raises for what is wrong with the file.

    Every frame is decoded, because headers err: positions are spread over the frames that decode.
    A second pass is made only where the header was wrong. The chosen frames are held in memory.

    Args:
        path: Video file.
        num_frames: How many to take, at least 1.
    """
    expect_range("num_frames", num_frames, 1, float("inf"))
    reason = _wrong_with_file(path)
    if reason:
        return VideoFrames(path, (), num_frames, 0, 0, "unreadable", reason)
    with _opened(path) as capture:
        promised = _promised(capture)
        chosen = spaced(promised, num_frames)
        frames, decoded = _take(capture, chosen) if capture.isOpened() else ((), -1)
    if decoded < 0:
        reason = f"expected a video, got a file that cannot be decoded at {path}; copy it again"
        return VideoFrames(path, (), num_frames, 0, 0, "unreadable", reason)
    if not decoded:
        reason = f"expected a video, got none of its {promised} frames at {path}; copy it again"
        return VideoFrames(path, (), num_frames, 0, promised, "no frames", reason)
    if decoded != promised:
        with _opened(path) as capture:
            frames, _ = _take(capture, spaced(decoded, num_frames), decoded)
    if decoded < promised:
        reason = f"expected {promised} frames, got {decoded} in {path}; copy it again"
        return VideoFrames(path, frames, num_frames, decoded, promised, "truncated", reason)
    return VideoFrames(path, frames, num_frames, decoded, promised, "ok")


def read_numbered(path: Path, numbers: Sequence[int]) -> tuple[Frame, ...]:
    """The frames of these numbers, such as the masks of frames that were read before.

    Args:
        path: Video file.
        numbers: Rising.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, or has fewer frames.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a video, found nothing at {path}; check the path")
    with _opened(path) as capture:
        frames, decoded = _take(capture, numbers, max(numbers, default=-1) + 1)
    if len(frames) < len(numbers):
        raise ValueError(
            f"expected frames up to number {max(numbers)} in {path}, got {decoded} frames; "
            "copy it again"
        )
    return frames


def _take(
    capture: Any,  # noqa: ANN401 - OpenCV has no types
    numbers: Sequence[int],
    stop: int | None = None,
) -> tuple[tuple[Frame, ...], int]:
    """Frames of these numbers, and how many frames there are before ``stop``."""
    import cv2

    wanted, frames, count = set(numbers), [], 0
    while (stop is None or count < stop) and capture.grab():
        if count in wanted:
            is_read, image = capture.retrieve()
            if not is_read:
                break
            frames.append(Frame(count, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)))
        count += 1
    return tuple(frames), count


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _QUIET)
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    backends = cv2.videoio_registry.getStreamBackends()
    # Others are tried one after the other where none is named, and complain each in its own way.
    backend = cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in backends else cv2.CAP_ANY
    capture = cv2.VideoCapture(str(path), backend)
    try:
        yield capture
    finally:
        capture.release()
        log.setLogLevel(level)


def _promised(capture: Any) -> int:  # noqa: ANN401 - OpenCV has no types
    """Frames that the header says, 0 where it says nothing sensible."""
    import cv2

    count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
    return int(count) if 0 < count < np.iinfo(np.int32).max else 0


def _wrong_with_file(path: Path) -> str:
    if not path.is_file():
        return f"expected a video, found nothing at {path}; check the path"
    if not path.stat().st_size:
        return f"expected a video, got an empty file (0 bytes) at {path}; copy it again"
    return ""
