"""A photo or a video as it is -> its faces, their scores, and the score of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range
from clad.data.images import decode_image
from clad.detector import Detector
from clad.faces.base import DetectedFace, FaceDetector, ImageArray
from clad.faces.crop import MARGIN, crop_face, paste_map
from clad.faces.video import Frame, VideoFrames, read_frames
from clad.faces.video_files import frame_path, is_video
from clad.metrics.score_calibration import NO_STANDING, Standing
from clad.metrics.settings import STANDARD, VideoScore
from clad.metrics.video import video_score

Status = Literal["ok", "no_face", "truncated", "unreadable"]
OK: Status = "ok"
NO_FACE: Status = "no_face"
TRUNCATED: Status = "truncated"
UNREADABLE: Status = "unreadable"

_CROP_PX = 256


@dataclass(frozen=True)
class ScoredFace:
    """One crop.

    Args:
        face: What was detected; None where the whole frame stands in for a face.
        matrix: (2, 3), x, y of the frame -> x, y of the crop.
        crop_px: Side of the crop.
        score: Raw; larger = more likely fake.
        model_map: (h, w) float32 over the crop, at the size that the model works at; None for heads
            without map.
    """

    face: DetectedFace | None
    matrix: NDArray[np.float64]
    crop_px: int
    score: float
    model_map: NDArray[np.float32] | None


@dataclass(frozen=True)
class ScoredFrame:
    """A photo, or a frame of a video.

    Args:
        number: Of the frame; 0 for a photo.
        image: (H, W, 3) uint8 RGB.
        faces: Largest first; one without ``face`` where none was found.
    """

    number: int
    image: ImageArray
    faces: tuple[ScoredFace, ...]

    @property
    def score(self) -> float:
        """Of the face with the largest score: one forged face makes a forged frame."""
        return max(face.score for face in self.faces)

    @property
    def has_face(self) -> bool:
        """Whether a face was found."""
        return self.faces[0].face is not None

    @property
    def map(self) -> NDArray[np.float32] | None:
        """(H, W) float32, made at each call: maps of the crops at their places, NaN around them."""
        maps = [face.model_map for face in self.faces if face.model_map is not None]
        if len(maps) < len(self.faces):
            return None
        height, width = self.image.shape[:2]
        matrices = [face.matrix for face in self.faces]
        return paste_map(maps, matrices, self.faces[0].crop_px, (height, width))


@dataclass(frozen=True)
class ScoredFile:
    """All that is said of a photo or video.

    Args:
        path: The file.
        is_video: Whether it is one.
        frames: In their order; one for a photo, none for an unreadable file.
        score: Of the whole; None for an unreadable file.
        threshold: Score at or above which it is called fake; None where none was fitted.
        statuses: What is to be known of it: ``ok`` alone, or some of the others.
        notes: A sentence for each status but ``ok``.
        standing: What validation says about the score: that of frames of one about a photo, that of
            videos about a video, if their frames became one score by the same rule.
    """

    path: Path
    is_video: bool
    frames: tuple[ScoredFrame, ...]
    score: float | None
    threshold: float | None
    statuses: tuple[Status, ...]
    notes: tuple[str, ...] = ()
    standing: Standing = NO_STANDING

    @property
    def is_fake(self) -> bool | None:
        """The verdict; None without a score or a threshold."""
        if self.score is None or self.threshold is None:
            return None
        return self.score >= self.threshold

    @property
    def num_with_face(self) -> int:
        """Frames in which a face was found."""
        return sum(frame.has_face for frame in self.frames)


class Forensics:
    """Finds the faces of photos and videos and scores each crop by a detector of forgeries.

    The largest score of its faces is a frame's; a frame without a face is scored as a whole, as the
    metrics of a test count it.

    Args:
        detector: Trained on face crops.
        faces: Finds them.
        category: Which of the detector's categories faces belong to; None where it knows one only.
        num_frames: Evenly spaced frames per video, at least 1.
        rule: How scores of frames become that of the video.
        top_k: How many frames the rule ``top_k`` takes, at least 1.
        crop_px: Side of the crops, as in the training data, at least 1.
        margin: Side of the crop as a multiple of the box, likewise.
        align: Whether crops are turned upright, likewise.
    """

    def __init__(
        self,
        detector: Detector,
        faces: FaceDetector,
        category: str | None = None,
        num_frames: int = 32,
        rule: VideoScore = STANDARD.video_score,
        top_k: int = STANDARD.top_k,
        crop_px: int = _CROP_PX,
        margin: float = MARGIN,
        align: bool = False,
    ) -> None:
        expect_range("num_frames", num_frames, 1, float("inf"))
        expect_range("top_k", top_k, 1, float("inf"))
        expect_range("crop_px", crop_px, 1, float("inf"))
        expect_range("margin", margin, 0.1, 10)
        self.detector = detector
        self.faces = faces
        self.category = category
        self.num_frames = num_frames
        self.rule: VideoScore = rule
        self.top_k = top_k
        self.crop_px = crop_px
        self.margin = margin
        self.align = align

    def score(self, path: Path) -> ScoredFile:
        """Everything about one file; what is wrong with the file is a status, not an error.

        Raises:
            ValueError: If the category is unknown or left open, or landmarks are missing.
        """
        return self._score_video(path) if is_video(path) else self._score_photo(path)

    def _score_photo(self, path: Path) -> ScoredFile:
        try:
            image = decode_image(path)
        except (ValueError, OSError) as error:
            return ScoredFile(path, False, (), None, None, (UNREADABLE,), (str(error),))
        (frame,), threshold = self._score_frames([Frame(0, image)], [path])
        standing = self._standing(frame.score, "frame")
        status, notes = OK, tuple[str, ...]()
        if not frame.has_face:
            status, notes = NO_FACE, ("no face was found; the whole image was scored",)
        return ScoredFile(path, False, (frame,), frame.score, threshold, (status,), notes, standing)

    def _score_video(self, path: Path) -> ScoredFile:
        video = read_frames(path, self.num_frames)
        if not video.frames:
            return ScoredFile(path, True, (), None, None, (UNREADABLE,), (video.reason,))
        names = [frame_path(path, frame.number) for frame in video.frames]
        frames, threshold = self._score_frames(video.frames, names)
        score = video_score(np.array([frame.score for frame in frames]), self.rule, self.top_k)
        statuses, notes = _statuses(video, frames)
        standing = self._standing(score, "video")
        return ScoredFile(path, True, tuple(frames), score, threshold, statuses, notes, standing)

    def _standing(self, score: float, level: str) -> Standing:
        """By validation scores that came about as this one did."""
        task = self.detector.task
        category = self.category or self.detector.categories[0]
        fitted = task.thresholds_fitted
        known = fitted.levels.get(level)
        if level == "frame" and (known is None or not known.calibrations):
            known = fitted  # every image was a frame of its own
        if level == "frame" and known is not None:
            return known.standing(category, score)
        rule, top_k = task.metrics.video_score, task.metrics.top_k
        is_same = rule == self.rule and (rule != "top_k" or top_k == self.top_k)
        return known.standing(category, score) if known is not None and is_same else NO_STANDING

    def _score_frames(
        self, frames: Sequence[Frame], paths: Sequence[Path]
    ) -> tuple[list[ScoredFrame], float | None]:
        """The scored frames, and the threshold that the category of faces has."""
        found: list[list[DetectedFace | None]] = [
            list(self.faces.detect(frame.image, path)) or [None]
            for frame, path in zip(frames, paths, strict=True)
        ]
        crops = [
            crop_face(frame.image, face, self.crop_px, self.margin, self.align)
            for frame, faces in zip(frames, found, strict=True)
            for face in faces
        ]
        scored = self.detector.score([crop.image for crop in crops], self.category)
        rows = iter(zip(crops, scored, strict=True))
        made = []
        for frame, faces in zip(frames, found, strict=True):
            each = [(face, *next(rows)) for face in faces]
            of_frame = tuple(
                ScoredFace(face, crop.matrix, crop.size, image.score, image.model_map)
                for face, crop, image in each
            )
            made.append(ScoredFrame(frame.number, frame.image, of_frame))
        return made, scored[0].threshold


def _statuses(
    video: VideoFrames, frames: Sequence[ScoredFrame]
) -> tuple[tuple[Status, ...], tuple[str, ...]]:
    statuses: list[Status] = []
    notes = []
    if video.status == TRUNCATED:
        statuses.append(TRUNCATED)
        notes.append(f"{video.num_decoded} of {video.num_promised} frames decode; they were used")
    if not any(frame.has_face for frame in frames):
        statuses.append(NO_FACE)
        notes.append("no face was found; whole frames were scored")
    return tuple(statuses) or (OK,), tuple(notes)
