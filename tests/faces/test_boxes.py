from __future__ import annotations

import numpy as np
import pytest

from clad.faces.base import DetectedFace
from clad.faces.boxes import largest_first, merge, overlaps, shrunk, suppress

BOXES = np.array(
    [(0, 0, 10, 10), (0, 5, 10, 15), (2, 2, 6, 6), (20, 20, 30, 30), (5, 5, 5, 9)], dtype=float
)


def test_overlaps_by_hand() -> None:
    np.testing.assert_allclose(overlaps(BOXES[0], BOXES), (1, 50 / 150, 16 / 100, 0, 0))
    np.testing.assert_allclose(overlaps(BOXES[0], BOXES, "smaller"), (1, 0.5, 1, 0, 0))


def slow_suppress(boxes, scores, most):
    """By the definition, pixel by pixel on a grid."""
    masks = []
    for top, left, bottom, right in boxes.astype(int):
        mask = np.zeros((60, 60), bool)
        mask[top:bottom, left:right] = True
        masks.append(mask)
    kept = []
    for index in sorted(range(len(boxes)), key=lambda row: (-scores[row], row)):
        shares = [
            (masks[index] & masks[other]).sum() / (masks[index] | masks[other]).sum()
            for other in kept
        ]
        if all(share <= most for share in shares):
            kept.append(index)
    return kept


def test_suppression_against_pixels() -> None:
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 40, (40, 2))
    boxes = np.concatenate((starts, starts + rng.integers(5, 20, (40, 2))), axis=1).astype(float)
    scores = rng.integers(0, 10, 40) / 10
    for most in (0.1, 0.3, 0.6):
        kept = suppress(boxes, scores, most).tolist()
        assert kept == slow_suppress(boxes, scores, most)
        assert 0 < len(kept) < 40
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


def test_merging_follows_chains_of_boxes() -> None:
    chain = np.array([(0, 0, 10, 10), (50, 50, 60, 60), (0, 8, 10, 18), (0, 4, 10, 14)], float)
    boxes, counts = merge(chain, 0.5)
    assert counts.tolist() == [3, 1]
    np.testing.assert_allclose(boxes, [(0, 4, 10, 14), (50, 50, 60, 60)])
    boxes, counts = merge(chain, 0.7)
    assert counts.tolist() == [1, 1, 1, 1]
    none, counts = merge(np.zeros((0, 4)), 0.5)
    assert none.shape == (0, 4)
    assert counts.tolist() == []


def test_largest_face_comes_first() -> None:
    faces = [DetectedFace((0, 0, 4, 4)), DetectedFace((5, 0, 9, 9)), DetectedFace((1, 0, 5, 4))]
    assert largest_first(faces) == (faces[1], faces[0], faces[2])


@pytest.mark.parametrize(
    ("size", "longest", "made"), [((40, 80), 20, (10, 20)), ((3, 900), 90, (1, 90))]
)
def test_large_images_are_made_smaller(size, longest, made) -> None:
    image = np.full((*size, 3), 77, np.uint8)
    small, factor = shrunk(image, longest)
    assert small.shape == (*made, 3)
    assert factor == longest / max(size)
    assert (small == 77).all()
    assert shrunk(image, 2000) == (image, 1.0)
