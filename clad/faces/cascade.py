"""Frontal faces by a cascade of local binary patterns: no download, no weights, no GPU."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clad.checks import expect_range
from clad.faces.base import DetectedFace, FaceDetector, ImageArray
from clad.faces.boxes import largest_first, merge, shrunk

_SAME_FACE = 0.4
"""Boxes that share this much of the smaller one are the same face."""


class CascadeDetector(FaceDetector):
    """The frontal-face cascade that ships with scikit-image.

    It finds upright faces that look at the camera, gives no landmarks and no confidence, and takes
    an eye or a chin for a second face now and then: docs/faces.md has counts. Overlapping boxes
    are merged into their mean.

    Args:
        smallest_share: Shortest face, as a share of the shorter side of the image, in (0, 1].
            Smaller faces take longer and bring false ones.
        scale_factor: Ratio of two neighbouring sizes of the search window, in [1.01, 2].
        step_ratio: Step of the window in pixels of the pattern, in [1, 2]; larger is faster and
            misses more.
        min_neighbors: Detections that must fall together to be believed, at least 1; more give
            fewer false faces.
        longest_side_px: Larger images are made smaller before, at least 24.

    Source: Liao et al., Learning multi-scale block local binary patterns for face recognition,
    ICB 2007; the cascade is scikit-image's.
    """

    def __init__(
        self,
        smallest_share: float = 0.1,
        scale_factor: float = 1.1,
        step_ratio: float = 1.0,
        min_neighbors: int = 4,
        longest_side_px: int = 800,
    ) -> None:
        expect_range("smallest_share", smallest_share, 1e-3, 1)
        expect_range("scale_factor", scale_factor, 1.01, 2)
        expect_range("step_ratio", step_ratio, 1, 2)
        expect_range("min_neighbors", min_neighbors, 1, 100)
        expect_range("longest_side_px", longest_side_px, 24, float("inf"))
        self.smallest_share = smallest_share
        self.scale_factor = scale_factor
        self.step_ratio = step_ratio
        self.min_neighbors = min_neighbors
        self.longest_side_px = longest_side_px

    def detect(self, image: ImageArray, path: Path | None = None) -> tuple[DetectedFace, ...]:
        """All faces, largest box first; see ``FaceDetector.detect``."""
        del path
        small, factor = shrunk(image, self.longest_side_px)
        height, width = small.shape[:2]
        window = max(self._cascade.window_height, self._cascade.window_width)
        smallest = max(window, round(self.smallest_share * min(height, width)))
        if smallest > min(height, width):
            return ()
        found = self._cascade.detect_multi_scale(
            img=np.ascontiguousarray(small),
            scale_factor=self.scale_factor,
            step_ratio=self.step_ratio,
            min_size=(smallest, smallest),
            max_size=(height, width),
            min_neighbor_number=self.min_neighbors,
        )
        rows = [(f["r"], f["c"], f["r"] + f["height"], f["c"] + f["width"]) for f in found]
        boxes, _ = merge(np.array(rows, dtype=np.float64).reshape(-1, 4), _SAME_FACE)
        top, left, bottom, right = (boxes / factor).T
        return largest_first(
            DetectedFace(box)
            for box in zip(*map(np.ndarray.tolist, (top, left, bottom, right)), strict=True)
        )

    @cached_property
    def _cascade(self) -> Any:  # noqa: ANN401 - a class of scikit-image, which has no types
        from skimage import data
        from skimage.feature import Cascade

        return Cascade(data.lbp_frontal_face_cascade_filename())
