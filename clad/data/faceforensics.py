"""FaceForensics++: manipulated videos of YouTube and of actors, by the owners' video split."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from clad.checks import expect_choice
from clad.data.face_clips import (
    MEDIA_FOLDERS,
    Clip,
    refuse_without_frames,
    stored_clips,
)
from clad.data.face_splits import keep_methods
from clad.data.face_tables import FaceTables
from clad.data.face_videos import FaceVideos
from clad.data.files import list_folders
from clad.data.tiny_faces import save_clip
from clad.samples import GOOD

ACTORS_METHOD = "DeepFakeDetection"
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter", ACTORS_METHOD)
COMPRESSIONS = ("raw", "c0", "c23", "c40")

Compression = Literal["raw", "c0", "c23", "c40"]
_FILES = {"train": "train.json", "validation": "val.json", "test": "test.json"}
_HINT = "it holds original_sequences/ and manipulated_sequences/, see docs/face-data.md"


class FaceForensics(FaceVideos):
    """FaceForensics++: 1,000 YouTube videos (label 0) and their manipulations (label 1).

    The fake ``000_003`` shows video 000 with the face or expression of 003 and hangs together with
    both. ``splits/train.json``, ``val.json`` and ``test.json`` of the owners, lists of pairs of
    ids, are followed where they are (in ``splits/`` or in the root); else the pairs are dealt out
    by the seed, 72 : 14 : 14. ``DeepFakeDetection`` (28 actors) has no split: its videos, with the
    real ones of ``actors``, are for test, and only where ``test_methods`` names it.

    Source: Rössler et al., FaceForensics++, ICCV 2019; FaceShifter by Li et al., CVPR 2020;
    DeepFakeDetection by Dufour and Gully, Google, 2019. Terms of use by their owners.

    Args:
        compression: Folder read of each method: ``c23`` (visually lossless), ``c40`` (strong),
            ``c0`` or ``raw``.
        train_methods: Manipulations that train and validation hold; None all but the actors'.
        test_methods: Manipulations that are tested; None all but the actors'.
        frames_per_video: Frames taken of each video, evenly spaced among those stored; None all.
        category_per_method: Whether the fakes of a method are a category of their own.
    """

    name: ClassVar[str] = "faceforensics"
    hint: ClassVar[str] = _HINT

    def __init__(
        self,
        compression: Compression = "c23",
        train_methods: list[str] | None = None,
        test_methods: list[str] | None = None,
        frames_per_video: int | None = None,
        category_per_method: bool = False,
    ) -> None:
        expect_choice("compression", compression, COMPRESSIONS)
        for method in (*(train_methods or ()), *(test_methods or ())):
            expect_choice("method", method, METHODS)
        if ACTORS_METHOD in (train_methods or ()):
            raise ValueError(
                f"expected train_methods with a split by people, got {ACTORS_METHOD}, whose 28 "
                "actors hang together; use it in test_methods"
            )
        super().__init__(frames_per_video, 0.14, 0.14, category_per_method)
        self.compression = compression
        self.train_methods = train_methods
        self.test_methods = test_methods

    def find_clips(self, root: Path, tables: FaceTables) -> tuple[list[Clip], list[str]]:
        """Videos of the chosen methods; see ``FaceVideos.find_clips``."""
        del tables
        notes = []
        manipulated = root / "manipulated_sequences"
        methods = self._methods(manipulated)
        official = read_official(root)
        clips: list[Clip] = []
        if set(methods) - {ACTORS_METHOD}:
            youtube = root / "original_sequences" / "youtube"
            clips += self._clips(root, youtube, GOOD, official)
        if ACTORS_METHOD in methods:
            actors = root / "original_sequences" / "actors"
            clips += self._clips(root, actors, GOOD, official)
        elif (manipulated / ACTORS_METHOD).is_dir():
            notes.append(
                f"{self.name}: {ACTORS_METHOD} is left out unless test_methods names it: other "
                "people, other real videos."
            )
        for method in methods:
            clips += self._clips(root, manipulated / method, method, official)
        if official is None:
            notes.append(
                f"{self.name}: no splits/train.json, val.json, test.json of the owners, so the "
                "split is not official and numbers cannot be compared with published ones."
            )
        return clips, notes

    def choose(self, clips: list[Clip]) -> list[Clip]:
        """Without the fakes of methods that a role is not to hold, and real videos beside none."""
        clips = keep_methods(clips, self.train_methods, ("train", "validation"), "train_methods")
        clips = keep_methods(clips, self.test_methods, ("test",), "test_methods")
        if self.test_methods == [ACTORS_METHOD]:
            clips = [c for c in clips if c.role != "test" or c.people[0].startswith("actors/")]
        return clips

    def _methods(self, folder: Path) -> list[str]:
        """Methods to read, in the order of the paper.

        Raises:
            ValueError: If a wanted one is not there, or none is.
        """
        found = [m for m in METHODS if (folder / m).is_dir()]
        if self.test_methods == [ACTORS_METHOD] and self.train_methods is None:
            wanted = [ACTORS_METHOD]
        elif self.train_methods is None or self.test_methods is None:
            named = {*(self.train_methods or ()), *(self.test_methods or ())}
            wanted = [m for m in METHODS if m in named or (m in found and m != ACTORS_METHOD)]
        else:
            wanted = [m for m in METHODS if m in {*self.train_methods, *self.test_methods}]
        missing = [method for method in wanted if method not in found]
        if missing or not wanted:
            raise ValueError(
                f"expected {', '.join(missing) or 'at least one method'} in {folder}, found "
                f"{', '.join(found) or 'none'}; {_HINT}"
            )
        return wanted

    def _clips(
        self, root: Path, folder: Path, method: str, official: dict[str, str] | None
    ) -> list[Clip]:
        stored = folder / self.compression
        if not stored.is_dir():
            there = [f.name for f in list_folders(folder)] if folder.is_dir() else []
            raise FileNotFoundError(
                f"expected the folder {stored}, found {', '.join(there) or 'nothing'} in {folder}; "
                "choose another compression, or other methods"
            )
        found = stored_clips(stored)
        if not found:
            raise refuse_without_frames(stored, root)
        is_actors = folder.name in ("actors", ACTORS_METHOD)
        clips = []
        for video in found:
            people = _people(video, is_actors, is_fake=method != GOOD)
            role = "test" if is_actors else _role(video, people, official)
            clips.append(
                Clip(
                    video.relative_to(root).as_posix(),
                    video,
                    int(method != GOOD),
                    method,
                    role,
                    people,
                    _mask_folder(folder, stored, video) if method != GOOD else None,
                )
            )
        return clips

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 10 videos of 2 frames in 5 pairs, 2 methods with all 10 fakes, one with masks."""
        rng = np.random.default_rng(seed)
        pairs = [(f"{2 * i:03d}", f"{2 * i + 1:03d}") for i in range(5)]
        splits = {"train": pairs[:3], "val": pairs[3:4], "test": pairs[4:]}
        for name, members in splits.items():
            path = root / "splits" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(members), encoding="utf-8")
        for video in (video for pair in pairs for video in pair):
            save_clip(root / "original_sequences/youtube/c23/frames" / video, rng)
        for method in METHODS[:2]:
            folder = root / "manipulated_sequences" / method
            masks = folder / "masks" / "frames" if method == METHODS[0] else None
            for one, other in (*pairs, *((b, a) for a, b in pairs)):
                name = f"{one}_{other}"
                mask_folder = None if masks is None else masks / name
                save_clip(folder / "c23/frames" / name, rng, 2, True, mask_folder)


def read_official(root: Path) -> dict[str, str] | None:
    """Role per id by the owners' lists of pairs; None where there are no lists.

    Raises:
        FileNotFoundError: If only some of the three lists are there.
        ValueError: If a list is none of pairs of ids, or an id is in two of them.
    """
    folder = root / "splits" if (root / "splits").is_dir() else root
    paths = {role: folder / name for role, name in _FILES.items()}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if len(missing) == len(paths):
        return None
    if missing:
        raise FileNotFoundError(
            f"expected all of {', '.join(_FILES.values())} in {folder}, found no "
            f"{', '.join(missing)}; copy the owners' dataset/splits"
        )
    roles: dict[str, str] = {}
    for role, path in paths.items():
        for pair in _read_pairs(path):
            for name in pair:
                if roles.setdefault(name, role) != role:
                    raise ValueError(
                        f"expected every id in one of the lists of {folder}, got {name} in "
                        f"{_FILES[roles[name]]} and {path.name}; copy the owners' dataset/splits"
                    )
    return roles


def _read_pairs(path: Path) -> list[list[str]]:
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON in {path}, got {error}; copy it again") from error
    for number, pair in enumerate(pairs if isinstance(pairs, list) else [pairs], 1):
        is_pair = isinstance(pair, list) and len(pair) == 2
        if not is_pair or not all(isinstance(name, str) for name in pair):
            raise ValueError(
                f'expected a list of pairs of ids like [["071", "054"]] in {path}, got '
                f"{pair!r} as entry {number}; copy it again"
            )
    return list(pairs)


def _people(video: Path, is_actors: bool, is_fake: bool) -> tuple[str, ...]:
    """Ids in the name of a video, with the set that they belong to in front."""
    if is_actors:
        pattern, example = (
            (r"(\d+)_(\d+)__.+", "01_02__talk__ABC") if is_fake else (r"(\d+)__.+", "01__talk")
        )
    else:
        pattern, example = (r"(\d+)_(\d+)", "000_003") if is_fake else (r"(\d+)", "000")
    match = re.fullmatch(pattern, video.name)
    if match is None:
        raise ValueError(
            f"expected a folder of frames named like {example}, got {video}; keep the owners' "
            f"names, frames in one of {', '.join(MEDIA_FOLDERS)}"
        )
    return tuple(f"{'actors' if is_actors else 'youtube'}/{name}" for name in match.groups())


def _role(video: Path, people: tuple[str, ...], official: dict[str, str] | None) -> str:
    if official is None:
        return ""
    ids = [person.split("/")[1] for person in people]
    roles = {official.get(name, "none of the lists") for name in ids}
    if len(roles) > 1 or not roles <= set(_FILES):
        raise ValueError(
            f"expected one role for {video}, got "
            f"{', '.join(f'{name} in {official.get(name)}' for name in ids)} by the owners' lists; "
            "remove the video, or remove the lists to split by the seed"
        )
    return roles.pop()


def _mask_folder(method: Path, stored: Path, video: Path) -> Path | None:
    """Where the masks of a video lie; they are the same for all compressions."""
    media = video.parent.name
    places = (method / "masks" / media, method / "masks", stored / "masks")
    return next((p / video.name for p in places if (p / video.name).is_dir()), None)
