"""Celeb-DF, versions 1 and 2: face swaps of celebrities, by the owners' list of test videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from clad.checks import expect_choice
from clad.data.face_clips import FAKE, Clip, refuse_without_frames, stored_clips
from clad.data.face_splits import left_out_note, people_shared
from clad.data.face_tables import FaceTables
from clad.data.face_videos import FaceVideos
from clad.data.files import list_folders, shown
from clad.data.tiny_faces import save_clip
from clad.samples import GOOD

SharedPeople = Literal["drop", "keep"]
LIST_NAME = "List_of_testing_videos.txt"
_LABELS = {"celeb-real": 0, "youtube-real": 0, "celeb-synthesis": 1}
_HINT = f"it holds Celeb-real/, YouTube-real/, Celeb-synthesis/ and {LIST_NAME}"


class CelebDF(FaceVideos):
    """Celeb-DF: real videos of celebrities and of YouTube (label 0), face swaps (label 1).

    ``List_of_testing_videos.txt`` says what is tested, **1 standing for real there**; a line whose
    label contradicts its folder is refused. The list goes by video: the people of its videos are in
    other videos, too. These are left out of training (``shared_people: drop``), or kept as
    published (``keep``), but for videos whose source video is tested. The fake ``id0_id1_0005`` is
    made of the video ``id0_0005`` and shows the face of ``id1``.

    Source: Li et al., Celeb-DF, CVPR 2020. Terms of use by its owners.

    Args:
        shared_people: What to do with training videos of people who are tested: ``drop`` or
            ``keep``.
        frames_per_video: Frames taken of each video, evenly spaced among those stored; None all.
        validation_fraction: Share of the real training videos held out for thresholds, [0, 0.9].
        category_per_method: Whether fakes are the category ``fake`` instead of ``face``.
    """

    name: ClassVar[str] = "celeb_df"
    hint: ClassVar[str] = _HINT

    def __init__(
        self,
        shared_people: SharedPeople = "drop",
        frames_per_video: int | None = None,
        validation_fraction: float = 0.1,
        category_per_method: bool = False,
    ) -> None:
        expect_choice("shared_people", shared_people, ("drop", "keep"))
        super().__init__(frames_per_video, validation_fraction, 0.0, category_per_method)
        self.shared_people = shared_people

    def find_clips(self, root: Path, tables: FaceTables) -> tuple[list[Clip], list[str]]:
        """Videos of the three folders; see ``FaceVideos.find_clips``."""
        del tables
        listed = read_test_list(root / LIST_NAME)
        clips = []
        for folder in list_folders(root):
            kind = folder.name.casefold()
            if kind not in _LABELS:
                continue
            stored = stored_clips(folder)
            if not stored:
                raise refuse_without_frames(folder, root)
            for video in stored:
                role = "test" if (kind, video.name) in listed else "train"
                clips.append(_clip(root, video, folder.name, role))
        there = {(c.name.split("/")[0].casefold(), c.folder.name) for c in clips}
        missing = [f"{kind}/{name}" for kind, name in listed if (kind, name) not in there]
        if clips and len(missing) == len(listed):
            raise ValueError(
                f"expected frames of the videos of {root / LIST_NAME}, found none, e.g. of "
                f"{missing[0]}; keep the owners' names of folders and videos"
            )
        notes = [f"{self.name}: {len(listed) - len(missing)} of {len(listed)} listed test videos."]
        if missing:
            notes[0] = f"{notes[0][:-1]} have frames, not {shown(missing)}."
        return self._without_shared(clips, notes)

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 14 real and 10 fake videos of 2 frames; 3 people train, 2 others are tested."""
        rng = np.random.default_rng(seed)
        listed: list[str] = []
        for person, other in ((0, 1), (1, 2), (2, 0), (3, 4), (4, 3)):
            for take in range(2):
                self._write(root, rng, listed, f"Celeb-real/id{person}_{take:04d}", person > 2)
                name = f"Celeb-synthesis/id{person}_id{other}_{take:04d}"
                self._write(root, rng, listed, name, person > 2)
        for take in range(4):
            self._write(root, rng, listed, f"YouTube-real/{take:05d}", take == 0)
        (root / LIST_NAME).write_text("".join(listed), encoding="utf-8")

    @staticmethod
    def _write(
        root: Path, rng: np.random.Generator, listed: list[str], name: str, is_test: bool
    ) -> None:
        is_fake = name.startswith("Celeb-synthesis")
        save_clip(root / name, rng, 2, is_fake)
        if is_test:
            listed.append(f"{int(not is_fake)} {name}.mp4\n")

    def _without_shared(self, clips: list[Clip], notes: list[str]) -> tuple[list[Clip], list[str]]:
        """Without training videos that share people, or a source video, with the test."""
        test = [clip for clip in clips if clip.role == "test"]
        train = [clip for clip in clips if clip.role == "train"]
        shared = people_shared(train, test)
        everybody = {person for clip in test for person in clip.people}
        notes.append(
            f"{self.name}: {len(shared)} of {len(everybody)} people of the test videos are in "
            f"other videos, too (shared_people: {self.shared_people})."
        )
        if self.shared_people == "drop":
            out = [clip for clip in train if shared & set(clip.people)]
            why = "of people who are tested"
        else:
            clips = [replace(clip, people=(_source_video(clip),)) for clip in clips]
            test = [clip for clip in clips if clip.role == "test"]
            tested = {person for clip in test for person in clip.people}
            train = [clip for clip in clips if clip.role == "train"]
            out = [clip for clip in train if tested & set(clip.people)]
            why = "whose source video is tested"
        names = {clip.name for clip in out}
        kept = [clip for clip in clips if clip.name not in names]
        return kept, [*notes, *left_out_note(self.name, why, out)]


def read_test_list(path: Path) -> Sequence[tuple[str, str]]:
    """(folder in small letters, name of the video) of each test video.

    Raises:
        FileNotFoundError: If there is no list.
        ValueError: If a line is not ``1 Celeb-real/NAME.mp4`` (1 real, 0 fake), or its label
            contradicts its folder.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the owners' list {path}, found none; {_HINT}, which also belongs beside "
            "the faces that `clad faces` cut"
        )
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([01])\s+([^/\s]+)/(?:videos/)?([^/\s]+)\.\w+", line.strip())
        folder = match[2].casefold() if match else ""
        if match is None or folder not in _LABELS:
            raise ValueError(
                f"expected `1 Celeb-real/NAME.mp4` in line {number} of {path}, got {line!r}; copy "
                "the list again"
            )
        if int(match[1]) == _LABELS[folder]:
            raise ValueError(
                f"expected 1 for real and 0 for fake in line {number} of {path}, got {line!r}: "
                "this list counts the other way round than labels do; copy the owners' list"
            )
        found.append((folder, match[3]))
    return tuple(dict.fromkeys(found))


def _clip(root: Path, video: Path, kind: str, role: str) -> Clip:
    label = _LABELS[kind.casefold()]
    people = tuple(dict.fromkeys(re.findall(r"id\d+(?=_)", video.name)))
    if len(people) > 2 or (kind.casefold() != "youtube-real" and not people):
        raise ValueError(
            f"expected a folder of frames named like id0_0005 or id0_id1_0005, got {video}; keep "
            "the owners' names"
        )
    name = video.relative_to(root).as_posix()
    return Clip(name, video, label, FAKE if label else GOOD, role, people or (name,))


def _source_video(clip: Clip) -> str:
    """Name of the real video: that of ``id0_id1_0005`` is ``id0_0005``."""
    if clip.label == 0:
        return clip.folder.name if clip.folder.name.startswith("id") else clip.name
    parts = clip.folder.name.split("_")
    return f"{parts[0]}_{parts[-1]}"
