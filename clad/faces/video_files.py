"""What a video file is called. Light: commands ask before they import anything slow."""

from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"}
)


def is_video(path: Path) -> bool:
    """Whether the name is that of a video and not hidden."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def frame_path(video: Path, number: int) -> Path:
    """Name of a frame, for detectors that look faces up: ``clip.mp4#000012``."""
    return video.with_name(f"{video.name}#{number:06d}")
