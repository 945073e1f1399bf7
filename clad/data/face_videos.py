"""The family of sources whose samples are videos, stored as folders of frames or face crops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from clad.checks import expect_folder, expect_range
from clad.data.base import Categories, DataSource, choose_categories
from clad.data.face_clips import CATEGORY, Clip, refuse_without_frames, samples_of
from clad.data.face_splits import components, deal, describe_videos, expect_no_shared_videos
from clad.data.face_tables import FaceTables, read_tables
from clad.data.splits import check_disjoint
from clad.samples import Sample, Splits

_ROLES = ("train", "validation", "test")


class FaceVideos(DataSource, ABC):
    """Real and manipulated videos; a source of this family says which there are.

    The family reads ``faces.csv`` and ``landmarks.csv`` of the root, takes evenly spaced frames,
    deals out what has no role, and refuses roles that share a file, a video or a person.

    Args:
        frames_per_video: Frames taken of each video, evenly spaced among those stored; None all.
        validation_fraction: Share of the real training videos held out where the owner has no
            validation, [0, 0.9].
        test_fraction: Share of the videos held out for test where the owner has none, [0, 0.9].
        category_per_method: Whether the fakes of a method are a category of their own.
    """

    domain: ClassVar[str] = "face"
    hint: ClassVar[str] = "see docs/face-data.md"

    def __init__(
        self,
        frames_per_video: int | None,
        validation_fraction: float,
        test_fraction: float,
        category_per_method: bool,
    ) -> None:
        if frames_per_video is not None:
            expect_range("frames_per_video", frames_per_video, 1, float("inf"))
        expect_range("validation_fraction", validation_fraction, 0, 0.9)
        expect_range("test_fraction", test_fraction, 0, 0.9)
        self.frames_per_video = frames_per_video
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.category_per_method = category_per_method

    @property
    def trains_on_anomalies(self) -> bool:
        """Always: these data sets come with fakes for training."""
        return True

    @abstractmethod
    def find_clips(self, root: Path, tables: FaceTables) -> tuple[list[Clip], list[str]]:
        """All videos with labels, methods, people and stored roles, and notes on them.

        Args:
            root: Folder of the data set.
            tables: Its tables.
        """

    def choose(self, clips: list[Clip]) -> list[Clip]:
        """Those of the clips, now with roles, that the options ask for; here all."""
        return clips

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``.

        Raises:
            ValueError: If there are only videos, or roles share a file, a video or a person.
        """
        folder = expect_folder("data.root", root, self.hint)
        tables = read_tables(folder)
        found, notes = self.find_clips(folder, tables)
        if not found:
            raise refuse_without_frames(folder, folder)
        clips, how = deal(found, self.validation_fraction, self.test_fraction, seed)
        clips = self.choose(clips)
        splits = self._read(clips, tables)
        check_disjoint(splits)
        expect_no_shared_videos(splits)
        every = [sample for role in _ROLES for sample in getattr(splits, role)]
        chosen = choose_categories(sorted({s.category for s in every}), categories)
        train, validation, test = (
            tuple(s for s in getattr(splits, role) if s.category in chosen) for role in _ROLES
        )
        kept = Splits(train, validation, test)
        notes = [
            f"{self.name}: {'; '.join(how) or 'split as the owner stored it'}; {self._frames()}.",
            *describe_videos(self.name, kept),
            *notes,
            *_masks_note(self.name, clips, every),
            *(f"{self.name}: {note}." for note in tables.notes),
        ]
        return Splits(train, validation, test, tuple(notes))

    def fingerprint(self, root: Path | None, splits: Splits) -> dict[str, Any]:
        """See ``DataSource.fingerprint``; with the number of frames per video."""
        return {**super().fingerprint(root, splits), "frames_per_video": self.frames_per_video}

    def _read(self, clips: Sequence[Clip], tables: FaceTables) -> Splits:
        groups = components(clips)
        by_role: dict[str, list[Sample]] = {role: [] for role in _ROLES}
        for clip in clips:
            category = clip.method if clip.label and self.category_per_method else CATEGORY
            group = f"{self.name}/{groups[clip.name]}"
            by_role[clip.role] += samples_of(clip, group, category, tables, self.frames_per_video)
        train, validation, test = (tuple(by_role[role]) for role in _ROLES)
        return Splits(train, validation, test)

    def _frames(self) -> str:
        if self.frames_per_video is None:
            return "all stored frames of each video"
        return f"{self.frames_per_video} evenly spaced ones of the stored frames of each video"


def _masks_note(source: str, clips: Sequence[Clip], samples: Sequence[Sample]) -> list[str]:
    """How many fakes have masks, and how many videos have masks that do not fit."""
    fakes = [sample for sample in samples if sample.label]
    if not fakes:
        return []
    masked = sum(sample.mask_path is not None for sample in fakes)
    with_mask = {s.origin.video for s in fakes if s.mask_path is not None and s.origin}
    unfit = sum(
        clip.mask_folder is not None and clip.label == 1 and clip.name not in with_mask
        for clip in clips
    )
    end = (
        f"; those of {unfit} videos fit no image (cut the masks as the faces were cut)"
        if unfit
        else ""
    )
    return [f"{source}: {masked} of {len(fakes)} fake images have a mask{end}."]
