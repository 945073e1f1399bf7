"""What `clad score --head deepfake` prints of a file, and the two tables that it writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clad.cli.errors import one_sentence
from clad.cli.standing import standing_phrase
from clad.forensics import OK, ScoredFace, ScoredFile, ScoredFrame
from clad.metrics.score_calibration import Standing
from clad.reports.files import write_text

SCORES, FACES = "scores.csv", "face_scores.csv"

_SHOWN_FRAMES = 3
"""Frames of a video that the terminal shows, hottest first; face_scores.csv has all."""

_FILE_COLUMNS = (
    "path", "kind", "status", "score", "threshold", "is_fake", "frames", "frames_with_face", "note",
    *Standing._fields,
)  # fmt: skip
_FACE_COLUMNS = (
    "path", "frame", "face", "has_face", "top", "left", "bottom", "right", "confidence", "score",
    "frame_score",
)  # fmt: skip


def lines_of(scored: ScoredFile, root: Path, rule: str) -> list[str]:
    """Verdict and score of a file, what is to be known of it, and its faces.

    Args:
        scored: The file.
        root: Folder that its name is shown from.
        rule: How frames of a video became its score, in words.
    """
    name = scored.path.relative_to(root) if scored.path.is_relative_to(root) else scored.path
    if scored.score is None:
        return [f"{name}: {scored.statuses[0]}", *_status_lines(scored)]
    parts = [] if scored.is_fake is None else ["fake" if scored.is_fake else "real"]
    parts.append(f"score {scored.score:.4g}")
    if scored.threshold is not None:
        parts.append(f"threshold {scored.threshold:.4g}")
    if phrase := standing_phrase(scored.standing, "video" if scored.is_video else "image"):
        parts.append(phrase)
    if scored.is_video:
        count = len(scored.frames)
        parts.append(f"{rule} of {count} frames")
        parts.append(f"faces in {scored.num_with_face} of {count}")
    lines = [f"{name}: {', '.join(parts)}", *_status_lines(scored)]
    hottest = hottest_frames(scored, _SHOWN_FRAMES)
    return lines + [_face_line(scored, frame, face) for frame in hottest for face in frame.faces]


def hottest_frames(scored: ScoredFile, most: int) -> list[ScoredFrame]:
    """The frames with the largest scores, largest first."""
    return sorted(scored.frames, key=lambda frame: (-frame.score, frame.number))[:most]


def without_pixels(scored: ScoredFile) -> ScoredFile:
    """A copy that takes little memory."""
    nothing = np.zeros((0, 0, 3), dtype=np.uint8)
    frames = tuple(
        replace(
            frame,
            image=nothing,
            faces=tuple(replace(face, model_map=None) for face in frame.faces),
        )
        for frame in scored.frames
    )
    return replace(scored, frames=frames)


def write_tables(folder: Path, files: Sequence[ScoredFile]) -> None:
    """Write ``scores.csv``, a line per file, and ``face_scores.csv``, a line per face."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SCORES, _table(_FILE_COLUMNS, map(_file_row, files)))
    rows = (row for scored in files for row in _face_rows(scored))
    write_text(folder / FACES, _table(_FACE_COLUMNS, rows))


def _status_lines(scored: ScoredFile) -> list[str]:
    named = [status for status in scored.statuses if status != OK]
    return [
        f"  {status}: {one_sentence(note)}"
        for status, note in zip(named, scored.notes, strict=True)
    ]


def _face_line(scored: ScoredFile, frame: ScoredFrame, face: ScoredFace) -> str:
    where = f"frame {frame.number}, " if scored.is_video else ""
    if face.face is None:
        return f"  {where}whole image: score {face.score:.4g}"
    box = ",".join(str(round(edge)) for edge in face.face.box)
    return f"  {where}face at {box}: score {face.score:.4g}, confidence {face.face.confidence:.2f}"


def _file_row(scored: ScoredFile) -> list[object]:
    return [
        scored.path,
        "video" if scored.is_video else "photo",
        " ".join(scored.statuses),
        _number(scored.score),
        _number(scored.threshold),
        "" if scored.is_fake is None else int(scored.is_fake),
        len(scored.frames),
        scored.num_with_face,
        "; ".join(map(one_sentence, scored.notes)),
        *map(_number, scored.standing),
    ]


def _face_rows(scored: ScoredFile) -> Iterable[list[object]]:
    for frame in scored.frames:
        for number, each in enumerate(frame.faces):
            found = each.face
            box = [""] * 4 if found is None else [f"{edge:.2f}" for edge in found.box]
            sure = "" if found is None else f"{found.confidence:.4f}"
            yield [
                scored.path, frame.number, number, int(found is not None), *box, sure,
                repr(each.score), repr(frame.score),
            ]  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
