"""Any real and fake videos, stored as folders of frames or of face crops."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from clad.data.face_clips import FAKE, Clip, list_videos, refuse_without_frames
from clad.data.face_splits import keep_methods
from clad.data.face_tables import FaceTables
from clad.data.face_videos import FaceVideos
from clad.data.files import has_images, inside, list_images, shown
from clad.data.folder_layout import MASK_NAMES, TEST_NAMES, TRAIN_NAMES, VALIDATION_NAMES
from clad.data.tiny_faces import save_clip
from clad.faces.tables import Row, header_of, read_rows
from clad.samples import GOOD

_ROLES = {"train": TRAIN_NAMES, "validation": VALIDATION_NAMES, "test": TEST_NAMES}
_KINDS = {"real": 0, "fake": 1}
_ACCEPTED = (
    "accepted are [train|val|test/]real/VIDEO/*.png and [train|val|test/]fake/[METHOD/]VIDEO/*.png,"
    " or a table (data.source.init_args.table) with columns video,label"
)


class FaceFolders(FaceVideos):
    """Videos as folders of frames: real ones (label 0) and fake ones (label 1).

    Accepted, in any case of letters::

        train/real/VIDEO/000.png  train/fake/METHOD/VIDEO/000.png     roles as stored
        real/VIDEO/000.png        fake/VIDEO/000.png                  split by the seed
        train/mask/METHOD/VIDEO/000.png                               masks of fakes

    Other trees (DeeperForensics, FFIW, one's own) are named by a table in the root, with the
    columns ``video`` (folder, relative to the root) and ``label`` (``real`` or ``fake``), and
    where they are known ``role`` (train, validation, test), ``method`` and ``people`` (names of
    who may not be torn apart, separated by ``;``).

    Args:
        table: Name of the table, e.g. ``videos.csv``; None reads the folders.
        train_methods: Methods whose fakes train and validation hold; None all. The test keeps all.
        frames_per_video: Frames taken of each video, evenly spaced among those stored; None all.
        validation_fraction: Share of the real training videos held out where there is no
            validation, [0, 0.9].
        test_fraction: Share of the videos held out where there are no roles, [0, 0.9].
        category_per_method: Whether the fakes of a method are a category of their own.
    """

    name: ClassVar[str] = "face_folders"
    is_layout: ClassVar[bool] = True
    hint: ClassVar[str] = "it holds train/ and test/, or real/ and fake/, or a table of videos"

    def __init__(
        self,
        table: str | None = None,
        train_methods: list[str] | None = None,
        frames_per_video: int | None = None,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        category_per_method: bool = False,
    ) -> None:
        super().__init__(frames_per_video, validation_fraction, test_fraction, category_per_method)
        self.table = table
        self.train_methods = train_methods

    def find_clips(self, root: Path, tables: FaceTables) -> tuple[list[Clip], list[str]]:
        """Videos of the folders or of the table; see ``FaceVideos.find_clips``."""
        clips = _of_folders(root, tables) if self.table is None else _of_table(root, self.table)
        unsplit = [clip for clip in clips if not clip.role]
        if unsplit and len(unsplit) < len(clips):
            raise ValueError(
                f"expected a role for every video of {root}, or for none, got {len(unsplit)} "
                f"without, e.g. {unsplit[0].name}; {_ACCEPTED}"
            )
        frames = {clip.name for clip in clips}
        videos = [path.relative_to(root).with_suffix("").as_posix() for path in list_videos(root)]
        without = [name for name in videos if name not in frames]
        if clips and without:
            return clips, [
                f"{self.name}: {len(without)} video files without frames are left out: "
                f"{shown(without)}."
            ]
        return clips, []

    def choose(self, clips: list[Clip]) -> list[Clip]:
        """Without the fakes of methods that are not to be trained on."""
        return keep_methods(clips, self.train_methods, ("train", "validation"), "train_methods")

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 8 real videos and 2 methods with 3 for training, 2 of each for test; masks."""
        rng = np.random.default_rng(seed)
        for role, num_real, num_fake in (("train", 8, 3), ("test", 2, 2)):
            for i in range(num_real):
                save_clip(root / role / "real" / f"r{i}", rng)
            for method in ("swap", "reenact"):
                for i in range(num_fake):
                    place = Path(method, f"{method[0]}{i}")
                    masks = root / role / "mask" / place if method == "swap" else None
                    save_clip(root / role / "fake" / place, rng, 2, True, masks)
        if self.table is None:
            return
        lines = ["video,label,role,method\n"]
        for role in ("train", "test"):
            for path in sorted({p.parent for p in list_images(root / role, nested=True)}):
                name = path.relative_to(root).as_posix()
                kind = name.split("/")[1]
                if kind in _KINDS:
                    lines.append(
                        f"{name},{kind},{role},{path.parent.name if kind == FAKE else ''}\n"
                    )
        (root / self.table).write_text("".join(lines), encoding="utf-8")


def _of_folders(root: Path, tables: FaceTables) -> list[Clip]:
    """A clip per folder of images; those that ``clad faces`` cut count where they were cut from."""
    places = dict.fromkeys(tables.place(p).parent for p in list_images(root, nested=True))
    return [
        _clip(root, place)
        for place in places
        if not {part.casefold() for part in place.parts} & MASK_NAMES
    ]


def _clip(root: Path, place: PurePosixPath) -> Clip:
    plain = [part.casefold() for part in place.parts]
    kinds = [i for i, part in enumerate(plain) if part in _KINDS]
    roles = {role: plain.index(name) for role, names in _ROLES.items() for name in names
             if name in plain}  # fmt: skip
    if len(kinds) != 1 or kinds[0] == len(plain) - 1 or len(roles) > 1:
        raise ValueError(
            f"expected a folder that says role, real or fake, and video, got "
            f"{place.as_posix()} in {root}; {_ACCEPTED}"
        )
    kind = kinds[0]
    label = _KINDS[plain[kind]]
    between = place.parts[kind + 1 : -1]
    method = (between[0] if between else FAKE) if label else GOOD
    folder = root / place
    around, below = place.parts[:kind], place.parts[kind + 1 :]
    masks = (root.joinpath(*around, name, *below) for name in sorted(MASK_NAMES))
    mask_folder = next((path for path in masks if label and path.is_dir()), None)
    role = next(iter(roles), "")
    return Clip(place.as_posix(), folder, label, method, role, (), mask_folder)


def _of_table(root: Path, name: str) -> list[Clip]:
    """A clip per line of the table.

    Raises:
        ValueError: If a line is wrong, comes twice, or its folder has no images.
    """
    table = root / name
    known = header_of(table)
    clips: dict[str, Clip] = {}
    for row in read_rows(table, ("video", "label")):
        video = row.path("video")
        folder = inside(root, video, f"line {row.line} of {table}")
        if video in clips:
            raise row.refuse("video", "a video that no line above names", video)
        if not folder.is_dir() or not has_images(folder):
            if folder.parent.is_dir() and list_videos(folder.parent):
                raise refuse_without_frames(folder.parent, root)
            raise row.refuse("video", "a folder with images", video)
        kind = _one_of(row, "label", _KINDS)
        role = _one_of(row, "role", (*_ROLES, "")) if "role" in known else ""
        method = row.cells.get("method", "") or FAKE
        people = [part.strip() for part in row.cells.get("people", "").split(";")]
        clips[video] = Clip(
            video,
            folder,
            _KINDS[kind],
            method if kind == FAKE else GOOD,
            role,
            tuple(part for part in people if part),
        )
    return list(clips.values())


def _one_of(row: Row, column: str, choices: Iterable[str]) -> str:
    value = row.cells[column]
    if value not in set(choices):
        raise row.refuse(column, " or ".join(choice for choice in choices if choice), value)
    return value
