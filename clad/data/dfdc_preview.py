"""DFDC-Preview: the first 5,000 videos of the Deepfake Detection Challenge, with dataset.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from clad.checks import expect_choice
from clad.data.dfdc_tables import Entry, field_of, read_json_table
from clad.data.face_clips import MEDIA_FOLDERS, Clip, refuse_without_frames
from clad.data.face_tables import FaceTables
from clad.data.face_videos import FaceVideos
from clad.data.files import has_images, shown
from clad.data.tiny_faces import save_clip
from clad.samples import GOOD

Tested = Literal["official", "all"]
TABLE = "dataset.json"
_HINT = f"it holds {TABLE}, original_videos/, method_A/ and method_B/"


class DFDCPreview(FaceVideos):
    """DFDC-Preview: videos of paid actors and two methods of swapping faces.

    ``dataset.json`` names every video with ``label``, ``set`` (train or test), ``target_id`` (who
    was filmed) and ``swapped_id`` (whose face it shows); people stay together. Two tests are in
    use and cannot be compared: the owners' ``set: test``, and all videos of both sets.

    Source: Dolhansky et al., The Deepfake Detection Challenge (DFDC) Preview Dataset,
    arXiv:1910.08854. Terms of use by its owners.

    Args:
        tested: ``official``: the owners' test; ``all``: every video is tested, none trained on.
        frames_per_video: Frames taken of each video, evenly spaced among those stored; None all.
        validation_fraction: Share of the real training videos held out for thresholds, [0, 0.9].
        category_per_method: Whether the fakes of a method are a category of their own.
    """

    name: ClassVar[str] = "dfdc_preview"
    hint: ClassVar[str] = _HINT

    def __init__(
        self,
        tested: Tested = "official",
        frames_per_video: int | None = None,
        validation_fraction: float = 0.1,
        category_per_method: bool = False,
    ) -> None:
        expect_choice("tested", tested, ("official", "all"))
        super().__init__(frames_per_video, validation_fraction, 0.0, category_per_method)
        self.tested = tested

    @property
    def trains_on_anomalies(self) -> bool:
        """Unless everything is tested."""
        return self.tested == "official"

    def find_clips(self, root: Path, tables: FaceTables) -> tuple[list[Clip], list[str]]:
        """Videos that the table names and that have frames; see ``FaceVideos.find_clips``."""
        del tables
        table = root / TABLE
        clips, missing = [], []
        for name, entry in read_json_table(table).items():
            folder = _frames(root, name)
            if folder is None:
                missing.append(name)
            else:
                clips.append(self._clip(root, folder, name, entry))
        if not clips:
            raise refuse_without_frames(root, root)
        notes = [f"{self.name}: {len(missing)} videos without frames: {shown(missing)}."]
        if self.tested == "all":
            notes.append(
                f"{self.name}: all {len(clips)} videos are tested (tested: all), which cannot be "
                "compared with numbers on the owners' test."
            )
        return clips, notes if missing else notes[1:]

    def _clip(self, root: Path, folder: Path, name: str, entry: Entry) -> Clip:
        table = root / TABLE
        label = int(field_of(entry, "label", ("real", "fake"), name, table) == "fake")
        stored = field_of(entry, "set", ("train", "test"), name, table)
        ids = [entry.get("target_id"), entry.get("swapped_id")]
        people = dict.fromkeys(f"person {known}" for known in ids if known is not None)
        return Clip(
            folder.relative_to(root).as_posix(),
            folder,
            label,
            name.split("/")[0] if label else GOOD,
            "test" if self.tested == "all" else stored,
            tuple(people),
        )

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write 8 people with a real and a fake video of 2 frames each, 2 of them for test."""
        rng = np.random.default_rng(seed)
        table: dict[str, dict[str, Any]] = {}
        for person, other in ((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4), (6, 7), (7, 6)):
            stored = "test" if person >= 6 else "train"
            real = f"original_videos/{person}/{person}_A_001"
            method = f"method_{'AB'[person % 2]}"
            fake = f"{method}/{person}/{person}_A/{other}_{person}_A_001"
            save_clip(root / real, rng)
            save_clip(root / fake, rng, 2, is_fake=True)
            common = {"set": stored, "augmentations": [], "target_id": person}
            table[f"{real}.mp4"] = {"label": "real", "swapped_id": None, **common}
            table[f"{fake}.mp4"] = {"label": "fake", "swapped_id": other, **common}
        (root / TABLE).write_text(json.dumps(table), encoding="utf-8")


def _frames(root: Path, name: str) -> Path | None:
    """Folder of the frames of a video: under its own path, or flat as in ``method_A/frames/``."""
    first, *_, last = name.split("/")
    places = [root / name, *(root / first / media / last for media in MEDIA_FOLDERS)]
    return next((p for p in places if p.is_dir() and has_images(p)), None)
