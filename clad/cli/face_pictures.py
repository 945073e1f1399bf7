"""Heat maps of faces on the whole photo; of a video, a sheet of its hottest frames."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clad.cli.face_tables import hottest_frames
from clad.cli.waiting_maps import picture_names
from clad.explain.regions import half_maximum
from clad.faces.base import ImageArray
from clad.forensics import ScoredFile, ScoredFrame
from clad.reports.gallery import colour_scale
from clad.reports.overlay import overlay

MAPS = "maps"

_PHOTO_PX, _PANEL_PX = 1024, 448
"""Longest side of a photo, and of a frame on a sheet."""
_PANELS, _COLUMNS, _GAP_PX = 6, 3, 6
_KEPT_PX = 32
"""Side to which maps are reduced (by the largest value) for the common colour scale."""
_WAITING = ".waiting"
_PANEL = ("image", "map", "boxes", "scores")
_BOX_COLOUR, _WHITE = (25, 235, 255), 255


class FacePictures:
    """Takes files in one by one; they wait on disk until the colour scale of all is known.

    Args:
        folder: Where the pictures go.
        paths: All files, which decide the names.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.folder = folder
        self._names = dict(zip(paths, picture_names([str(path) for path in paths]), strict=True))
        self._waiting: list[tuple[str, int]] = []
        self._maps: list[NDArray[np.float32]] = []
        self._scores: list[float] = []
        self._limits: list[float] = []

    def add(self, scored: ScoredFile) -> bool:
        """Keep what is shown of one file; whether it has a map."""
        hottest = hottest_frames(scored, _PANELS)
        if not hottest:
            return False
        for face in (face for frame in scored.frames for face in frame.faces):
            if face.model_map is not None:
                self._maps.append(_reduced(face.model_map))
                self._scores.append(face.score)
                self._limits.append(np.nan if scored.threshold is None else scored.threshold)
        (self.folder / _WAITING).mkdir(parents=True, exist_ok=True)
        longest = _PANEL_PX if scored.is_video else _PHOTO_PX
        panels: dict[str, Any] = {}
        for number, frame in enumerate(hottest):
            for key, values in _panel(frame, longest).items():
                panels[f"{key}_{number}"] = values
        np.savez(self.folder / _WAITING / f"{len(self._waiting)}.npz", **panels)
        self._waiting.append((self._names[scored.path], len(hottest)))
        return hottest[0].faces[0].model_map is not None

    def finish(self) -> None:
        """Write the pictures: ``NAME.png`` of a photo, ``NAME.mp4.png`` of a video."""
        low, high = 0.0, 1.0
        if self._maps:
            maps, scores = np.stack(self._maps), np.array(self._scores)
            low, high = face_scale(maps, scores, np.array(self._limits))
        for row, (name, count) in enumerate(self._waiting):
            with np.load(self.folder / _WAITING / f"{row}.npz") as stored:
                panels = [
                    _drawn({key: stored[f"{key}_{n}"] for key in _PANEL}, low, high)
                    for n in range(count)
                ]
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_sheet(panels)).save(path)
        shutil.rmtree(self.folder / _WAITING, ignore_errors=True)


def face_scale(
    maps: NDArray[np.float32], scores: NDArray[np.float64], limits: NDArray[np.float64]
) -> tuple[float, float]:
    """(low, high): map values at the ends of the one colour scale of all faces of a call.

    As in reports, as many maps reach the middle as faces are called fake; there are few faces here,
    so the middle lies halfway between the last peak that does not and the first that does. Where
    all are called fake it is the lowest half maximum, where none is the highest peak.

    Args:
        maps: (N, h, w) float.
        scores: (N,) float.
        limits: (N,) thresholds, all NaN where there are none; percentiles then make the scale.
    """
    peaks = np.sort(maps.max(axis=(1, 2)).astype(np.float64))
    low, high = np.percentile(maps, (1.0, 99.9)).tolist()
    if np.isnan(limits).any():
        return colour_scale(low, high, peaks, scores, limits)
    num_quiet = int((scores < limits).sum())
    if num_quiet == len(peaks):
        middle = peaks[-1]
    elif num_quiet:
        middle = peaks[num_quiet - 1 : num_quiet + 1].mean()
    else:
        halves = [half_maximum(each) for each in maps]
        middle = np.nanmin(halves) if np.isfinite(halves).any() else peaks[0]
    half = max(middle - low, high - middle, 1e-9)
    return float(middle - half), float(middle + half)


def _reduced(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(32, 32): the largest value of each block."""
    rows = np.linspace(0, values.shape[0], _KEPT_PX, endpoint=False).astype(int)
    columns = np.linspace(0, values.shape[1], _KEPT_PX, endpoint=False).astype(int)
    if min(values.shape) < _KEPT_PX:
        return np.asarray(values[rows][:, columns])
    return np.asarray(np.maximum.reduceat(np.maximum.reduceat(values, rows), columns, axis=1))


def _panel(frame: ScoredFrame, longest: int) -> dict[str, NDArray]:
    """Image and map at most ``longest`` long, boxes and scores; the map may be empty."""
    height, width = frame.image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = Image.fromarray(frame.image).resize(size, Image.Resampling.BILINEAR)
    found = [each for each in frame.faces if each.face is not None]
    boxes = [each.face.box for each in found if each.face is not None]
    values = frame.map
    if values is None:
        shown = np.zeros((0, 0), dtype=np.float32)
    else:
        # Nearest: an average would carry the NaN around a crop into it.
        small = Image.fromarray(values).resize(size, Image.Resampling.NEAREST)
        shown = np.asarray(small, dtype=np.float32)
    scores = [each.score for each in found]
    boxes_px = np.array(boxes, dtype=np.float64).reshape(-1, 4) * factor
    return dict(zip(_PANEL, (np.asarray(image), shown, boxes_px, np.array(scores)), strict=True))


def _drawn(panel: dict[str, NDArray], low: float, high: float) -> ImageArray:
    """The image in grey under the colours of its map, with boxes; its own colours without one."""
    image, values = panel["image"], panel["map"]
    if values.size:
        position = np.clip((values - low) / (high - low), 0, 1)
        known = np.isfinite(position)
        grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        coloured = overlay(image, np.where(known, position, 0))
        image = np.where(known[..., None], coloured, grey)
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for (top, left, bottom, right), score in zip(panel["boxes"], panel["scores"], strict=True):
        pen.rectangle((left, top, right, bottom), outline=_BOX_COLOUR, width=2)
        text = f"{score:.3g}"
        if left + 4 + pen.textlength(text) < right:
            pen.text((left + 4, top + 3), text, fill=_BOX_COLOUR)
    return np.asarray(picture)


def _sheet(panels: Sequence[ImageArray]) -> ImageArray:
    """The panels row by row on white; a single one as it is."""
    if len(panels) == 1:
        return panels[0]
    height, width = panels[0].shape[:2]
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    sheet = np.full(
        (rows * (height + _GAP_PX) - _GAP_PX, columns * (width + _GAP_PX) - _GAP_PX, 3),
        _WHITE,
        dtype=np.uint8,
    )
    for number, panel in enumerate(panels):
        top = number // columns * (height + _GAP_PX)
        left = number % columns * (width + _GAP_PX)
        sheet[top : top + height, left : left + width] = panel
    return sheet
