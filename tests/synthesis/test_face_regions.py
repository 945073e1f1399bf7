"""Regions by landmarks against scipy's hull and hand-computed points."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_faces import landmarks
from scipy.spatial import Delaunay

from clad.synthesis.face_regions import (
    expect_choices,
    expect_landmarks,
    face_box,
    face_region,
    fill_hulls,
    forehead,
    part_landmarks,
    part_region,
    shrunk,
    with_forehead,
)

SIZE = (120, 100)
POINTS = landmarks(SIZE)


def inside_hull(points, size):
    rows, columns = np.indices(size)
    places = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return (Delaunay(points).find_simplex(places) >= 0).reshape(size)


def disagreement(region, points):
    """Pixels that are not within one pixel of where both agree."""
    exact = inside_hull(points, SIZE)
    inner, outer = shrunk(exact, 2), ~shrunk(~exact, 2)
    return int((region & ~outer).sum() + (~region & inner).sum())


def test_hull_is_that_of_scipy():
    assert disagreement(face_region(POINTS, "hull", SIZE), POINTS) == 0
    assert disagreement(face_region(POINTS, "forehead", SIZE), with_forehead(POINTS)) == 0


def test_forehead_lies_above_the_brows_by_shares_of_the_distance_to_the_nose():
    points = POINTS.copy()
    points[17:27] = np.stack([np.arange(10.0) * 5, np.full(10, 40.0)], axis=1)
    points[33] = (22.5, 70)
    lifted = forehead(points)
    np.testing.assert_allclose(lifted[:, 0], points[17:27, 0], atol=1e-5)
    # Brows at 40, nose base at 70: 30 px; 0.4 of it at the ends.
    np.testing.assert_allclose(lifted[[0, 9], 1], 40 - 0.4 * 30, atol=1e-4)
    middle = 0.4 + 0.4 * np.sin(4 * np.pi / 9)
    np.testing.assert_allclose(lifted[[4, 5], 1], 40 - middle * 30, atol=1e-4)


def test_kinds_are_nested_as_they_should_be():
    regions = {
        kind: face_region(POINTS, kind, SIZE)
        for kind in ("hull", "forehead", "full", "components", "extended")
    }
    for inner, outer in (
        ("full", "hull"),
        ("components", "hull"),
        ("hull", "forehead"),
        ("components", "extended"),
        ("extended", "forehead"),
    ):
        assert not (regions[inner] & ~regions[outer]).any(), (inner, outer)
    # The drawn face has no hollow between jaw and brows: unions of its parts fill the hull.
    assert regions["components"].sum() < regions["extended"].sum()
    assert regions["hull"].sum() < regions["forehead"].sum()


def test_unions_leave_out_what_no_part_holds():
    points = POINTS.copy()
    points[1] = points[0] - (30, 0)  # an ear far outside belongs to the jaw, not to the brows
    points[26] += (0, -30)  # the end of a brow far up spans no hull with the other brow
    hull = face_region(points, "hull", SIZE)
    for kind in ("full", "components"):
        region = face_region(points, kind, SIZE)
        assert region.sum() < hull.sum()
        assert not (region & ~hull).any()


def test_regions_outside_the_image_are_empty_and_partly_outside_are_cut():
    assert not face_region(POINTS + 1e6, "hull", SIZE).any()
    moved = face_region(POINTS + np.float32(40), "hull", SIZE)
    whole = face_region(POINTS, "hull", SIZE)
    np.testing.assert_array_equal(moved[40:, 40:], whole[:-40, :-40])


@pytest.mark.parametrize(("part", "number"), [("eyes", 22), ("mouth", 12), ("nose", 9)])
def test_parts_hold_their_landmarks_and_grow_by_the_margin(part, number):
    assert len(part_landmarks(part)) == number
    tight = part_region(POINTS, part, SIZE, 0)
    columns, rows = np.rint(POINTS[part_landmarks(part)]).astype(int).T
    assert tight[rows, columns].all()
    eyes_px = POINTS[45, 0] - POINTS[36, 0]
    wide = part_region(POINTS, part, SIZE, 4 / eyes_px)
    before, after = np.nonzero(tight.any(axis=1))[0], np.nonzero(wide.any(axis=1))[0]
    assert (after[0], after[-1]) == (before[0] - 4, before[-1] + 4)
    before, after = np.nonzero(tight.any(axis=0))[0], np.nonzero(wide.any(axis=0))[0]
    assert (after[0], after[-1]) == (before[0] - 4, before[-1] + 4)


def test_face_box_reaches_to_the_hairline():
    left, top, right, bottom = face_box(POINTS)
    assert (left, right, bottom) == (POINTS[:, 0].min(), POINTS[:, 0].max(), POINTS[:, 1].max())
    assert top == pytest.approx(forehead(POINTS)[:, 1].min())


def test_the_edge_of_the_image_takes_nothing_away():
    region = np.ones((6, 6), bool)
    assert shrunk(region).all()
    region[0] = False
    assert shrunk(region).sum() == 4 * 6


def test_several_hulls_are_joined():
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], np.float32)
    assert fill_hulls([square, square + 4], (10, 10)).sum() == 18


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expect_landmarks(POINTS[:5]), r"shape \(68, 2\), got \(5, 2\)"),
        (lambda: expect_landmarks(POINTS * np.inf), "finite landmarks, got 68 of 68"),
        (lambda: face_region(POINTS, "head", SIZE), "region to be one of components, extended"),
        (lambda: part_region(POINTS, "ear", SIZE, 0), "part to be one of eyes, mouth, nose"),
        (lambda: expect_choices("blends", (), ("a", "b")), "at least one of a, b in blends, got"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
