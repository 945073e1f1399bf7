"""``clad predict``: scores as a table, maps as pictures on one colour scale."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clad.data.images import decode_image, resize_image
from clad.reports.files import write_text
from clad.reports.gallery import colour_scale, thresholds_of_images
from clad.reports.overlay import overlay
from clad.types import Batch, Prediction

SCORES, MAPS = "scores.csv", "maps"
_UNSCALED = ".maps.float32"
_COLUMNS = ("path", "category", "score", "threshold", "is_anomalous")


class Written(NamedTuple):
    """What ``PredictionWriter.finish`` left behind.

    Args:
        num_images: Rows of ``scores.csv``.
        num_called: How many reach the threshold of their category; None without thresholds.
        has_maps: Whether there are pictures.
    """

    num_images: int
    num_called: int | None
    has_maps: bool


class PredictionWriter:
    """Takes in predictions batch by batch; maps wait on disk until their common scale is known.

    Args:
        folder: Where ``scores.csv`` and ``maps/`` go; made if needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: list[str] = []
        self._categories: list[str] = []
        self._scores: list[NDArray[np.float64]] = []
        self._map_size: tuple[int, int] | None = None

    def add(self, prediction: Prediction, batch: Batch) -> None:
        """Keep the scores and maps of one batch."""
        if not self._paths:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / _UNSCALED).unlink(missing_ok=True)
        self._paths += batch.paths
        self._categories += batch.categories
        self._scores.append(prediction.scores.detach().to("cpu", torch.float64).numpy())
        if prediction.maps is not None:
            maps = prediction.maps.detach().to("cpu", torch.float32).numpy()
            self._map_size = (maps.shape[1], maps.shape[2])
            with (self.folder / _UNSCALED).open("ab") as file:
                file.write(maps.tobytes())

    def finish(self, thresholds: Mapping[str, float] | None) -> Written:
        """Write the table and the pictures.

        Args:
            thresholds: Category name -> threshold on raw scores, or None.

        Raises:
            ValueError: If nothing was predicted.
        """
        if not self._paths:
            raise ValueError("expected images to predict, got none; check data.root")
        scores = np.concatenate(self._scores)
        limits = thresholds_of_images(self._categories, thresholds)
        write_text(self.folder / SCORES, self._table(scores, limits))
        if self._map_size is not None:
            self._write_maps(scores, limits, self._map_size)
        called = None if thresholds is None else int((scores >= limits).sum())
        return Written(len(scores), called, self._map_size is not None)

    def _table(self, scores: NDArray[np.float64], limits: NDArray[np.float64]) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for path, category, score, limit in zip(
            self._paths, self._categories, scores.tolist(), limits.tolist(), strict=True
        ):
            judged = ("", "") if np.isnan(limit) else (repr(limit), int(score >= limit))
            writer.writerow([path, category, repr(score), *judged])
        return buffer.getvalue()

    def _write_maps(
        self, scores: NDArray[np.float64], limits: NDArray[np.float64], size: tuple[int, int]
    ) -> None:
        unscaled = self.folder / _UNSCALED
        shape = (len(self._paths), *size)
        maps = np.memmap(unscaled, dtype=np.float32, mode="r", shape=shape)
        low, high = colour_scale(maps, scores, limits)
        for path, name, values in zip(self._paths, picture_names(self._paths), maps, strict=True):
            picture = self.folder / MAPS / name
            picture.parent.mkdir(parents=True, exist_ok=True)
            position = np.clip((values - low) / (high - low), 0, 1)
            image = resize_image(decode_image(Path(path)), size)
            Image.fromarray(overlay(image, position)).save(picture)
        del maps
        unscaled.unlink()


def picture_names(paths: list[str]) -> list[str]:
    """Relative PNG names, one per image, laid out as the images are.

    Other suffixes are kept before ``.png``, so that ``a.jpg`` and ``a.png`` do not meet.
    """
    absolute = [Path(path).absolute() for path in paths]
    base = os.path.commonpath([path.parent for path in absolute])
    names = [path.relative_to(base).as_posix() for path in absolute]
    return [name if name.lower().endswith(".png") else f"{name}.png" for name in names]
