"""DFDC, the Deepfake Detection Challenge: parts with metadata.json, a test with labels.csv."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from clad.data.dfdc_tables import field_of, read_json_table
from clad.data.face_clips import FAKE, Clip, list_videos, refuse_without_frames, stored_clips
from clad.data.face_tables import FaceTables
from clad.data.face_videos import FaceVideos
from clad.data.files import list_folders
from clad.data.tiny_faces import save_clip
from clad.faces.tables import read_rows
from clad.samples import GOOD

METADATA, LABELS = "metadata.json", "labels.csv"
_HINT = f"it holds parts with {METADATA}, and test/ with {LABELS}"


class DFDC(FaceVideos):
    """DFDC: videos of paid actors, swapped by eight unnamed methods.

    Each part (``dfdc_train_part_0/``) has a ``metadata.json`` that says ``REAL`` or ``FAKE`` of its
    videos and of which ``original`` a fake was made: with this it stays together. ``test/`` has
    ``labels.csv`` (filename,label with 1 fake). Who acts is not published, so people may be in
    several roles; this is said in a note.

    Source: Dolhansky et al., The DeepFake Detection Challenge Dataset, arXiv:2006.07397. Terms of
    use by its owners.

    Args:
        frames_per_video: Frames taken of each video, evenly spaced among those stored; None all.
        validation_fraction: Share of the real training videos held out for thresholds, [0, 0.9].
        test_fraction: Share of the videos held out for test where there is no ``test/``, [0, 0.9].
        category_per_method: Whether fakes are the category ``fake`` instead of ``face``.
    """

    name: ClassVar[str] = "dfdc"
    hint: ClassVar[str] = _HINT

    def __init__(
        self,
        frames_per_video: int | None = None,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        category_per_method: bool = False,
    ) -> None:
        super().__init__(frames_per_video, validation_fraction, test_fraction, category_per_method)

    def find_clips(self, root: Path, tables: FaceTables) -> tuple[list[Clip], list[str]]:
        """Videos of all parts and of the test; see ``FaceVideos.find_clips``."""
        del tables
        tests = _with_file(root, LABELS)
        parts = [folder for folder in _with_file(root, METADATA) if folder not in tests]
        if not parts and not tests:
            if list_videos(root):
                raise refuse_without_frames(root, root)
            raise FileNotFoundError(
                f"expected {METADATA} or {LABELS} in folders of {root}; {_HINT}"
            )
        role = "train" if tests else ""
        clips = [clip for part in parts for clip in _part(root, part, role)]
        clips += [clip for test in tests for clip in _test(root, test)]
        notes = [f"{self.name}: its people are not published and may be in several roles."]
        return clips, notes

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write a part of 6 real and 6 fake videos of 2 frames, and a test of 2 and 2."""
        rng = np.random.default_rng(seed)
        part = root / "dfdc_train_part_0"
        metadata: dict[str, dict[str, str]] = {}
        for i in range(6):
            real, fake = f"real{i}", f"fake{i}"
            save_clip(part / real, rng)
            save_clip(part / fake, rng, 2, is_fake=True)
            metadata[f"{real}.mp4"] = {"label": "REAL", "split": "train"}
            metadata[f"{fake}.mp4"] = {
                "label": "FAKE",
                "split": "train",
                "original": f"{real}.mp4",
            }
        (part / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
        lines = ["filename,label\n"]
        for i in range(4):
            save_clip(root / "test" / f"video{i}", rng, 2, is_fake=i % 2 == 1)
            lines.append(f"video{i}.mp4,{i % 2}\n")
        (root / "test" / LABELS).write_text("".join(lines), encoding="utf-8")


def _with_file(root: Path, name: str) -> list[Path]:
    """The root and folders up to two below that hold a file, and no deeper ones."""
    inner = list_folders(root)
    every = [root, *inner, *(deep for folder in inner for deep in list_folders(folder))]
    return [folder for folder in every if (folder / name).is_file()]


def _part(root: Path, part: Path, role: str) -> list[Clip]:
    table = part / METADATA
    known = read_json_table(table)
    clips = []
    for video in _stored(part, root):
        if video.name not in known:
            raise _unknown(video, table)
        entry = known[video.name]
        label = int(field_of(entry, "label", ("REAL", "FAKE"), video.name, table) == "FAKE")
        source = PurePosixPath(str(entry.get("original") or video.name)).stem
        people = (f"{part.name}/{source if label else video.name}",)
        clips.append(_clip(root, video, label, role, people))
    return clips


def _test(root: Path, test: Path) -> list[Clip]:
    table = test / LABELS
    labels = {
        PurePosixPath(row.path("filename")).stem: int(row.flag("label"))
        for row in read_rows(table, ("filename", "label"))
    }
    clips = []
    for video in _stored(test, root):
        if video.name not in labels:
            raise _unknown(video, table)
        clips.append(_clip(root, video, labels[video.name], "test", ()))
    return clips


def _clip(root: Path, video: Path, label: int, role: str, people: tuple[str, ...]) -> Clip:
    name = video.relative_to(root).as_posix()
    return Clip(name, video, label, FAKE if label else GOOD, role, people or (name,))


def _stored(folder: Path, root: Path) -> list[Path]:
    found = stored_clips(folder)
    if not found:
        raise refuse_without_frames(folder, root)
    return found


def _unknown(video: Path, table: Path) -> ValueError:
    return ValueError(
        f"expected an entry for {video.name} in {table}, got none; keep the owners' names of videos"
    )
