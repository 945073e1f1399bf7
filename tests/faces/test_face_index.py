from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clad.faces.index import (
    FaceRow,
    crop_name,
    read_index,
    read_landmarks,
    write_index,
    write_landmarks,
)
from clad.samples import Origin

PHOTO = FaceRow("a/p/000000_0.png", "a/p.jpg", False, 0, 0, 4, 5.25, 20, 31, 64, 48, 0.75)
FRAME = FaceRow("v/000012_1.png", "v.mp4", True, 12, 1, -3, 0, 48, 64, 64, 48, 0, False)
HEADER = (
    "image,source,video,frame,face,top,left,bottom,right,width,height,confidence,has_face\n"
)  # fmt: skip


def test_table_is_as_specified_and_reads_back(tmp_path):
    path = tmp_path / "out" / "faces.csv"
    write_index(path, [PHOTO, FRAME])
    assert path.read_text() == (
        HEADER + "a/p/000000_0.png,a/p.jpg,0,0,0,4,5.25,20,31,64,48,0.75,1\n"
        "v/000012_1.png,v.mp4,1,12,1,-3,0,48,64,64,48,0,0\n"
    )
    assert read_index(path) == (PHOTO, FRAME)
    assert PHOTO.box == (4, 5.25, 20, 31)


def test_names_with_commas_and_letters_of_any_language_read_back(tmp_path):
    row = replace(PHOTO, image='größe, "x"/000000_0.png', source='größe, "x".jpg')
    write_index(tmp_path / "faces.csv", [row])
    assert read_index(tmp_path / "faces.csv") == (row,)


def test_origins_tell_photos_from_videos():
    assert PHOTO.origin == Origin("a/p.jpg")
    assert FRAME.origin == Origin("v.mp4#000012", "v.mp4", has_face=False)


def test_crop_name_follows_the_source():
    assert crop_name("a/b.mp4", 12, 0) == "a/b/000012_0.png"
    assert crop_name("a.b.jpeg", 0, 3) == "a.b/000000_3.png"


def test_two_sources_of_one_crop_are_refused(tmp_path):
    other = replace(PHOTO, source="a/p.mp4")
    with pytest.raises(ValueError, match=r"got a/p\.jpg and a/p\.mp4 for a/p/000000_0\.png"):
        write_index(tmp_path / "faces.csv", [PHOTO, other])


GOOD_LINE = "v/0_0.png,v.mp4,1,0,0,0,0,9,9,10,10,1,1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/v.png,v.mp4,1,0,0,0,0,9,9,10,10,1,1", r"relative path .* column image, line 3 of .*csv"),
        ("a.png,../v.mp4,1,0,0,0,0,9,9,10,10,1,1", r"column source, line 3 .* got '\.\./v\.mp4'"),
        ("a.png,v.mp4,yes,0,0,0,0,9,9,10,10,1,1", r"0 or 1 in column video, line 3 .* got 'yes'"),
        ("a.png,v.mp4,1,-1,0,0,0,9,9,10,10,1,1", r"whole number .* column frame, .* got '-1'"),
        ("a.png,v.mp4,1,0,0,nan,0,9,9,10,10,1,1", r"a number in column top, line 3"),
        ("a.png,v.mp4,1,0,0,9,0,9,9,10,10,1,1", r"more than top = 9 in column bottom, line 3"),
        ("a.png,v.mp4,1,0,0,0,0,9,9,0,10,1,1", r"at least 1 in column width, line 3"),
        ("a.png,v.mp4,1,0,0,0,0,9,9,10,10,2,1", r"in \[0, 1\] in column confidence, line 3"),
        ("a.png,v.mp4,1,0,0,0,0,9,9,10,10,1", r"expected 13 cells in line 3 of .*, got 12"),
        (GOOD_LINE, r"image that line 2 does not name in column image, line 3"),
    ],
)
def test_wrong_cells_are_refused_by_file_line_and_column(tmp_path, line, message):
    path = tmp_path / "faces.csv"
    path.write_text(f"{HEADER}{GOOD_LINE}\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_index(path)


def test_missing_table_and_column_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected the table .*faces\.csv, found none"):
        read_index(tmp_path / "faces.csv")
    (tmp_path / "faces.csv").write_text("image,source\n")
    with pytest.raises(ValueError, match=r"columns image,source,video,.* got image,source;"):
        read_index(tmp_path / "faces.csv")


@pytest.mark.parametrize("number", [5, 68])
def test_landmarks_read_back(tmp_path, number):
    rng = np.random.default_rng(0)
    points = {name: rng.normal(0, 90, (number, 2)).astype(np.float32) for name in ("b/1", "a/0")}
    write_landmarks(tmp_path / "landmarks.csv", points)
    found = read_landmarks(tmp_path / "landmarks.csv")
    assert list(found) == ["b/1", "a/0"]
    for name, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, points[name])


def test_landmark_columns_alternate_x_and_y(tmp_path):
    path = tmp_path / "landmarks.csv"
    write_landmarks(path, {"a.png": np.arange(10, dtype=np.float32).reshape(5, 2)})
    assert path.read_text() == ("image,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4\na.png,0,1,2,3,4,5,6,7,8,9\n")


def test_no_landmarks_at_all_read_back(tmp_path):
    write_landmarks(tmp_path / "landmarks.csv", {})
    assert read_landmarks(tmp_path / "landmarks.csv") == {}


def test_wrong_landmarks_are_refused(tmp_path):
    path = tmp_path / "landmarks.csv"
    five = np.zeros((5, 2), np.float32)
    with pytest.raises(ValueError, match=r"for all faces, got \(5, 2\), \(68, 2\)"):
        write_landmarks(path, {"a": five, "b": np.zeros((68, 2), np.float32)})
    with pytest.raises(ValueError, match=r"got \(5, 3\)"):
        write_landmarks(path, {"a": np.zeros((5, 3), np.float32)})
    path.write_text("image,x0,y0\na.png,1,2\n")
    with pytest.raises(ValueError, match=r"of 5 or 68 points in line 1 of .*, got 3 columns"):
        read_landmarks(path)
    write_landmarks(path, {"a.png": five})
    path.write_text(path.read_text() + "b.png,0,0,0,x,0,0,0,0,0,0\n")
    with pytest.raises(ValueError, match=r"a number in column y1, line 3 of .*, got 'x'"):
        read_landmarks(path)
