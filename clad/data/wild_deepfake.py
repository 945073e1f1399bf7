"""WildDeepfake: sequences of faces out of videos found on the internet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from clad.data.face_clips import FAKE, Clip, folders_of_images, refuse_without_frames
from clad.data.face_tables import FaceTables
from clad.data.face_videos import FaceVideos
from clad.data.files import list_folders
from clad.data.tiny_faces import save_clip
from clad.samples import GOOD

_ROLE_FOLDER = re.compile(r"(real|fake)[ _-](train|test)")
_HINT = "it holds real_train/, real_test/, fake_train/ and fake_test/, their archives unpacked"


class WildDeepfake(FaceVideos):
    """WildDeepfake: 7,314 sequences of face crops from 707 videos, real (0) and fake (1).

    An archive ``fake_train/12.tar.gz`` unpacks to ``fake_train/12/fake/SEQUENCE/FRAME.png``. A
    sequence counts as a video; sequences of one archive stay together. How the fakes were made and
    who is in them is unknown.

    Source: Zi et al., WildDeepfake, ACM Multimedia 2020. Terms of use by its owners.

    Args:
        frames_per_video: Frames taken of each sequence, evenly spaced among those stored; None all.
        validation_fraction: Share of the real training sequences held out for thresholds, [0, 0.9].
        category_per_method: Whether fakes are the category ``fake`` instead of ``face``.
    """

    name: ClassVar[str] = "wild_deepfake"
    hint: ClassVar[str] = _HINT

    def __init__(
        self,
        frames_per_video: int | None = None,
        validation_fraction: float = 0.1,
        category_per_method: bool = False,
    ) -> None:
        super().__init__(frames_per_video, validation_fraction, 0.0, category_per_method)

    def find_clips(self, root: Path, tables: FaceTables) -> tuple[list[Clip], list[str]]:
        """All sequences; see ``FaceVideos.find_clips``."""
        del tables
        clips = []
        for folder in list_folders(root):
            match = _ROLE_FOLDER.fullmatch(folder.name.casefold())
            if match is None:
                continue
            stored = folders_of_images(folder)
            archives = sorted(folder.glob("*.tar.gz"))
            if not stored and archives:
                raise ValueError(
                    f"expected unpacked archives in {folder}, got {len(archives)}, e.g. "
                    f"{archives[0].name}; unpack each into a folder of its name"
                )
            if not stored:
                raise refuse_without_frames(folder, root)
            clips += [_clip(root, folder, sequence, match[1], match[2]) for sequence in stored]
        if not clips:
            raise FileNotFoundError(f"expected frames in {root}, found none; {_HINT}")
        return clips, [f"{self.name}: its people are unknown and may be in several roles."]

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 5 archives of each kind for training, 2 for test, a sequence of 2 frames each."""
        rng = np.random.default_rng(seed)
        for kind in ("real", "fake"):
            for role, number in (("train", 5), ("test", 2)):
                for i in range(number):
                    folder = root / f"{kind}_{role}" / str(i) / kind / "0"
                    save_clip(folder, rng, 2, is_fake=kind == "fake")


def _clip(root: Path, folder: Path, sequence: Path, kind: str, role: str) -> Clip:
    parts = sequence.relative_to(folder).parts
    other = "fake" if kind == "real" else "real"
    if not parts or other in parts:
        raise ValueError(
            f"expected sequences like {folder.name}/0/{kind}/12/ in {folder}, got images in "
            f"{sequence}; unpack the archives again"
        )
    label = int(kind == "fake")
    return Clip(
        sequence.relative_to(root).as_posix(),
        sequence,
        label,
        FAKE if label else GOOD,
        role,
        (f"{kind}_{role}/{parts[0]}",),
    )
