"""OpenCV's YuNet, from a model file that the user has."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clad.checks import expect_range
from clad.faces.base import DetectedFace, FaceDetector, ImageArray
from clad.faces.boxes import largest_first, shrunk

_NUM_POINTS = 5


class YuNet(FaceDetector):
    """Boxes, confidences and five landmarks by ``cv2.FaceDetectorYN``.

    Args:
        model: ONNX file, such as ``face_detection_yunet_2023mar.onnx`` of OpenCV's model zoo.
        score_threshold: Least confidence, in [0, 1].
        overlap: Overlap (share of the union) above which the weaker of two boxes goes, in [0, 1].
        longest_side_px: Larger images are made smaller before, at least 32.

    Raises:
        FileNotFoundError: If there is no model file.

    Source: Wu, Peng, Yu, YuNet: a tiny millisecond-level face detector, Machine Intelligence
    Research 2023.
    """

    def __init__(
        self,
        model: Path | None = None,
        score_threshold: float = 0.7,
        overlap: float = 0.3,
        longest_side_px: int = 1280,
    ) -> None:
        expect_range("score_threshold", score_threshold, 0, 1)
        expect_range("overlap", overlap, 0, 1)
        expect_range("longest_side_px", longest_side_px, 32, float("inf"))
        if model is None or not model.is_file():
            found = "no path" if model is None else f"nothing at {model}"
            raise FileNotFoundError(
                f"expected the ONNX file of YuNet, got {found}; take "
                "face_detection_yunet_2023mar.onnx from OpenCV's model zoo and name it in "
                "detector.init_args.model, or use configs/faces/cascade.yaml, which needs none"
            )
        self.model = model
        self.score_threshold = score_threshold
        self.overlap = overlap
        self.longest_side_px = longest_side_px

    def detect(self, image: ImageArray, path: Path | None = None) -> tuple[DetectedFace, ...]:
        """All faces, largest box first; see ``FaceDetector.detect``."""
        del path
        small, factor = shrunk(image, self.longest_side_px)
        height, width = small.shape[:2]
        self._network.setInputSize((width, height))
        _, rows = self._network.detect(np.ascontiguousarray(small[..., ::-1]))
        return largest_first(faces_of_rows(rows, factor))

    @cached_property
    def _network(self) -> Any:  # noqa: ANN401 - OpenCV has no types
        try:
            return cv2.FaceDetectorYN.create(
                str(self.model), "", (32, 32), self.score_threshold, self.overlap
            )
        except cv2.error as error:
            raise ValueError(
                f"expected the ONNX file of YuNet at {self.model}, got a file that OpenCV cannot "
                "read as one; copy it again"
            ) from error


def faces_of_rows(rows: np.ndarray | None, factor: float = 1.0) -> list[DetectedFace]:
    """Faces in the order of the rows.

    Args:
        rows: (N, 15) float: left, top, width, height; x, y of the eye on the viewer's left, the
            other eye, the nose, the corners of the mouth likewise; confidence. None for no face.
        factor: What coordinates are divided by.
    """
    faces = []
    for row in () if rows is None else np.asarray(rows, dtype=np.float64):
        left, top, width, height = (row[:4] / factor).tolist()
        points = (row[4 : 4 + 2 * _NUM_POINTS] / factor).reshape(_NUM_POINTS, 2)
        confidence = float(np.clip(row[-1], 0, 1))
        box = (top, left, top + height, left + width)
        faces.append(DetectedFace(box, confidence, points.astype(np.float32)))
    return faces
