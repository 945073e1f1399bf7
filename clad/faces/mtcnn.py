"""MTCNN: three small networks, coarse to fine; boxes, confidences and five landmarks."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clad.checks import expect_range
from clad.faces.base import DetectedFace, FaceDetector, ImageArray
from clad.faces.boxes import Boxes, largest_first, shrunk, suppress
from clad.faces.mtcnn_networks import Networks, load_networks
from clad.faces.mtcnn_stages import (
    Windows,
    at_scale,
    moved,
    patches,
    pyramid,
    rows_first,
    squared,
    windows,
)

_REFINEMENT_PX, _OUTPUT_PX = 24, 48
_SAME_SCALE, _SAME_FACE = 0.5, 0.7
"""Overlap above which the weaker of two boxes goes: within one scale, and later."""
_MOST_PATCHES = 512


class MTCNN(FaceDetector):
    """The detector behind most published face crops, with the weights of facenet-pytorch.

    Args:
        weights: Folder with mtcnn_pnet.pt, mtcnn_rnet.pt and mtcnn_onet.pt, or pnet.pt and so on;
            null takes those of the pip package facenet-pytorch, if it is installed.
        smallest_px: Side of the smallest face, in pixels of the image that is looked at, at least
            12.
        thresholds: Least probability after each of the three networks, in [0, 1].
        factor: Ratio of a scale of the pyramid to the one before, in [0.1, 0.95].
        longest_side_px: Larger images are made smaller before, at least 12.

    Source: Zhang et al., Joint face detection and alignment using multitask cascaded convolutional
    networks, IEEE SPL 2016; thresholds and overlaps as in facenet-pytorch (T. Esler, MIT licence).
    """

    def __init__(
        self,
        weights: Path | None = None,
        smallest_px: int = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        longest_side_px: int = 1280,
    ) -> None:
        expect_range("smallest_px", smallest_px, 12, float("inf"))
        expect_range("factor", factor, 0.1, 0.95)
        expect_range("longest_side_px", longest_side_px, 12, float("inf"))
        for threshold in thresholds:
            expect_range("each of thresholds", threshold, 0, 1)
        self.weights = weights
        self.smallest_px = smallest_px
        self.thresholds = thresholds
        self.factor = factor
        self.longest_side_px = longest_side_px

    @cached_property
    def networks(self) -> Networks:
        """Read at the first use.

        Raises:
            ImportError: If no folder was named and the package is not installed.
            FileNotFoundError: If a file is missing.
            ValueError: If a file holds other weights.
        """
        return load_networks(self.weights)

    def detect(self, image: ImageArray, path: Path | None = None) -> tuple[DetectedFace, ...]:
        """All faces, largest box first; see ``FaceDetector.detect``."""
        del path
        small, factor = shrunk(image, self.longest_side_px)
        pixels = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            boxes = self._refine(pixels, self._propose(pixels))
            faces = self._judge(pixels, boxes)
        return largest_first(_divided(face, factor) for face in faces)

    def _propose(self, pixels: Tensor) -> Boxes:
        """(N, 4) squares that P-Net takes for faces, at all scales."""
        found = []
        height, width = pixels.shape[-2:]
        for scale in pyramid(height, width, self.smallest_px, self.factor):
            probability, offsets = self.networks.proposal(at_scale(pixels, scale))
            each = windows(probability[0], offsets[0], scale, self.thresholds[0])
            kept = suppress(each.boxes, each.scores, _SAME_SCALE)
            found.append(Windows(*(values[kept] for values in each)))
        if not found:
            return np.zeros((0, 4))
        boxes, scores, moves = map(np.concatenate, zip(*found, strict=True))
        kept = suppress(boxes, scores, _SAME_FACE)
        return squared(moved(boxes[kept], moves[kept], shorter_px=1))

    def _refine(self, pixels: Tensor, boxes: Boxes) -> Boxes:
        """(N, 4) squares that R-Net takes for faces."""
        seen, held = patches(pixels, boxes, _REFINEMENT_PX)
        if not len(seen):
            return np.zeros((0, 4))
        parts = [self.networks.refinement(part) for part in seen.split(_MOST_PATCHES)]
        probability, offsets = (
            torch.cat(each).double().numpy() for each in zip(*parts, strict=True)
        )
        sure = probability > self.thresholds[1]
        boxes, moves = boxes[held][sure], rows_first(offsets)[sure]
        kept = suppress(boxes, probability[sure], _SAME_FACE)
        return squared(moved(boxes[kept], moves[kept]))

    def _judge(self, pixels: Tensor, boxes: Boxes) -> list[DetectedFace]:
        """Faces that O-Net believes in, surest first."""
        seen, held = patches(pixels, boxes, _OUTPUT_PX)
        if not len(seen):
            return []
        parts = [self.networks.output(part) for part in seen.split(_MOST_PATCHES)]
        probability, offsets, shares = (
            torch.cat(each).double().numpy() for each in zip(*parts, strict=True)
        )
        sure = probability > self.thresholds[2]
        boxes, scores = boxes[held][sure], probability[sure]
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None, ::-1]
        points = boxes[:, None, 1::-1] + shares[sure] * sides
        exact = moved(boxes, rows_first(offsets)[sure])
        return [
            DetectedFace(tuple(exact[k].tolist()), float(scores[k]), points[k].astype(np.float32))
            for k in suppress(exact, scores, _SAME_FACE, "smaller")
        ]


def _divided(face: DetectedFace, factor: float) -> DetectedFace:
    """The face in pixels of the image that was made smaller by ``factor``."""
    assert face.landmarks is not None
    top, left, bottom, right = (edge / factor for edge in face.box)
    landmarks = (face.landmarks / factor).astype(np.float32)
    return DetectedFace((top, left, bottom, right), face.confidence, landmarks)
