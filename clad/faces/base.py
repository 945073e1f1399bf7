"""The face-detector contract: an image in, boxes and landmarks of its faces out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ImageArray = NDArray[np.uint8]


@dataclass(frozen=True)
class DetectedFace:
    """One face in an image.

    Args:
        box: (top, left, bottom, right) in pixels, the last two exclusive; may reach beyond the
            image.
        confidence: In [0, 1]; 1 where the detector gives none.
        landmarks: (5, 2) float32 x, y of left eye, right eye, nose, left and right corner of the
            mouth as the viewer sees them, or (68, 2); None where the detector gives none.
    """

    box: tuple[float, float, float, float]
    confidence: float = 1.0
    landmarks: NDArray[np.float32] | None = None


class FaceDetector(ABC):
    """Finds the faces in an image. One file and one YAML per detector."""

    @abstractmethod
    def detect(self, image: ImageArray, path: Path | None = None) -> tuple[DetectedFace, ...]:
        """All faces, largest box first; empty where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.
            path: File that it was read from, for detectors that look up stored boxes.
        """
