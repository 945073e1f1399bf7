"""``clad predict`` and ``clad score``: scores as a table, maps as pictures on one colour scale."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from clad.cli.waiting_maps import WaitingMaps, picture_names
from clad.explain.scored_image import ScoredImage
from clad.explain.vocabulary import DescribedPrediction, RankedDescription
from clad.metrics.score_calibration import Standing
from clad.metrics.score_counts import ScoreCounts
from clad.reports.files import write_text
from clad.reports.gallery import colour_scale, percentiles, thresholds_of_images
from clad.reports.overlay import to_grey
from clad.tasks.processes import of_all_processes, rank
from clad.types import Batch

SCORES, MAPS = "scores.csv", "maps"
_COLUMNS = ("path", "category", "score", "threshold", "is_anomalous")
_BOX = ("top", "left", "bottom", "right")
_WORD = ("defect", "text", "similarity", "margin")
_SAMPLED_VALUES = 16_384
"""Of each map, for the ends of the colour scale; more changes nothing visible."""
NUM_WORDS = 3
"""Kinds of defect that are written per image."""


class Written(NamedTuple):
    """What ``PredictionWriter.finish`` left behind.

    Args:
        num_images: Rows of ``scores.csv``.
        num_called: How many reach the threshold of their category; None without thresholds.
        has_maps: Whether there are pictures.
        first_words: Kind of defect -> number of images for which it is named first, most frequent
            first; of those called anomalous, or of all without thresholds. Empty without words.
    """

    num_images: int
    num_called: int | None
    has_maps: bool
    first_words: dict[str, int]


@dataclass
class _Scored:
    """What is known of images that were scored, less their maps."""

    rows: list[ScoredImage] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    map_values: ScoreCounts = field(default_factory=ScoreCounts)

    def merge(self, other: _Scored) -> None:
        """Take in what another process knows."""
        self.rows += other.rows
        self.peaks += other.peaks
        self.map_values.merge(other.map_values)


class PredictionWriter:
    """Takes in predictions one by one; maps wait on disk until their common scale is known.

    Pictures have the size of the grey ones that come with the predictions, so that no file is
    decoded twice; those that come without are as large as their maps. Of several processes each
    writes the pictures of its images, and the first one the table.

    Args:
        folder: Where ``scores.csv`` and ``maps/`` go; made if needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = _Scored()
        self._waiting: WaitingMaps | None = None

    def add(self, prediction: DescribedPrediction, batch: Batch) -> None:
        """Keep the scores, maps and words of one batch."""
        scores = prediction.scores.detach().to("cpu", torch.float64).tolist()
        maps = pixels = None
        if prediction.maps is not None:
            maps = prediction.maps.detach().to("cpu", torch.float32).numpy()
            if batch.images.shape[-2:] == maps.shape[-2:]:
                pixels = batch.images.to("cpu").permute(0, 2, 3, 1).numpy()
        for row, (path, category) in enumerate(zip(batch.paths, batch.categories, strict=True)):
            words = prediction.words[row] if prediction.words else ()
            image_map = None if maps is None else maps[row]
            size = (batch.masks.shape[-2], batch.masks.shape[-1])
            grey = None if pixels is None else to_grey(pixels[row])
            self.add_image(
                ScoredImage(path, category, scores[row], size, image_map, words=words, picture=grey)
            )

    def add_image(self, image: ScoredImage) -> None:
        """Keep one image."""
        own, values = self._own, image.model_map
        if self._waiting is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Not earlier: processes learn their rank when the trainer starts.
            self._waiting = WaitingMaps(self.folder, str(rank()))
            self._waiting.clear()
        own.rows.append(image.without_map())
        if values is None:
            return
        peak = float(values.max())
        if not math.isfinite(peak):
            raise ValueError(
                f"expected a finite anomaly map, got NaN or infinity for {image.name}; "
                "look for a division by zero or an overflow in the head"
            )
        own.peaks.append(peak)
        sampled = values.reshape(-1)[:: max(1, values.size // _SAMPLED_VALUES)]
        own.map_values.count(sampled.reshape(-1), sampled[:0].reshape(-1))
        self._waiting.add(image.name, values, image.picture)

    def finish(
        self,
        thresholds: Mapping[str, float] | None,
        standing: Callable[[str, float], Standing] | None = None,
    ) -> Written:
        """Write the table and the pictures.

        Args:
            thresholds: Category name -> threshold on raw scores, or None.
            standing: (category name, raw score) -> where it stands; None leaves what images bring.

        Raises:
            ValueError: If nothing was predicted.
        """
        if self._waiting is None:
            raise ValueError("expected images to predict, got none; check data.root")
        whole = _Scored()
        for each in of_all_processes(self._own):
            whole.merge(each)
        rows = whole.rows
        if standing is not None:
            rows = [replace(row, standing=standing(row.category, row.score)) for row in rows]
        scores = np.array([row.score for row in rows])
        limits = thresholds_of_images([row.category for row in rows], thresholds)
        if rank() == 0:
            write_text(self.folder / SCORES, scores_table(rows, limits))
        has_maps = bool(self._waiting)
        if has_maps:
            peaks, ends = np.array(whole.peaks), percentiles(whole.map_values)
            low, high = colour_scale(*ends, peaks, scores, limits)
            paths = [row.name for row in rows]
            names = dict(zip(paths, picture_names(paths), strict=True))
            self._waiting.write_pictures(self.folder / MAPS, names, low, high)
        counted = np.ones(len(scores), bool) if thresholds is None else scores >= limits
        called = None if thresholds is None else int(counted.sum())
        first = Counter(
            row.words[0].defect_type
            for row, counts in zip(rows, counted, strict=True)
            if row.words and counts
        )
        return Written(len(scores), called, has_maps, dict(first.most_common()))


def scores_table(rows: Sequence[ScoredImage], limits: NDArray[np.float64]) -> str:
    """Comma-separated values, one line per image: score, verdict, standing, region, first words.

    Columns of standing, regions and words are left out where no image has them.

    Args:
        rows: Images.
        limits: (N,) thresholds, NaN where there is none.
    """
    has_boxes, has_words = any(row.regions for row in rows), any(row.words for row in rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    standings = [n for n in Standing._fields if any(getattr(r, n) is not None for r in rows)]
    header = [*_COLUMNS, *standings, *(_BOX if has_boxes else ())]
    if has_words:
        header += [f"{name}_{place}" for place in range(1, NUM_WORDS + 1) for name in _WORD]
    writer.writerow(header)
    for row, limit in zip(rows, limits.tolist(), strict=True):
        judged = ["", ""] if np.isnan(limit) else [repr(limit), int(row.score >= limit)]
        cells = [row.name, row.category, repr(row.score), *judged]
        known = [getattr(row, name) for name in standings]
        cells += ["" if value is None else repr(value) for value in known]
        if has_boxes:
            cells += row.regions[0].box if row.regions else [""] * len(_BOX)
        if has_words:
            words = [_word_cells(each) for each in row.words[:NUM_WORDS]]
            words += [[""] * len(_WORD)] * (NUM_WORDS - len(words))
            cells += [cell for each in words for cell in each]
        writer.writerow(cells)
    return buffer.getvalue()


def _word_cells(word: RankedDescription) -> list[str]:
    return [word.defect_type, word.text, f"{word.similarity:.4f}", f"{word.margin:.4f}"]
