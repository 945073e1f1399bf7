"""Videos of a few frames, and marked faces that a fake detector finds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

STEP = 8  # between the grey levels of neighbouring frames


def write_video(
    path: Path, frames: int | Sequence[np.ndarray], size: tuple[int, int] = (48, 64)
) -> Path:
    """MJPG in .avi, mp4v in .mp4. A number gives grey frames, STEP levels apart."""
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    if isinstance(frames, int):
        frames = [np.full((*size, 3), STEP * number, np.uint8) for number in range(frames)]
    height, width = frames[0].shape[:2] if len(frames) else size
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def cut_short(path: Path, share: float) -> Path:
    """The file without its end."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
