from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from clad.faces.stored import StoredFaces, read_boxes
from clad.faces.yunet import YuNet, faces_of_rows

IMAGE = np.zeros((40, 40, 3), np.uint8)
POINTS = [f"{axis}{n}" for n in range(5) for axis in "xy"]


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_faces_are_looked_up_by_path(tmp_path) -> None:
    table = write(
        tmp_path / "boxes.csv", "image,top,left,bottom,right,confidence",
        "a/p.jpg,1,2,5,6,0.5", "a/p.jpg,0,0,30,20.5,0.9", "b.jpg,,,,,", "clip.mp4#000012,1,1,9,9,1",
    )  # fmt: skip
    detector = StoredFaces(table)
    large, small = detector.detect(IMAGE, tmp_path / "a/p.jpg")
    assert (large.box, large.confidence) == ((0, 0, 30, 20.5), 0.9)
    assert (small.box, small.confidence, small.landmarks) == ((1, 2, 5, 6), 0.5, None)
    assert detector.detect(IMAGE, tmp_path / "b.jpg") == ()
    assert len(detector.detect(IMAGE, tmp_path / "clip.mp4#000012")) == 1


def test_paths_are_seen_from_the_root(tmp_path, monkeypatch) -> None:
    table = write(tmp_path / "boxes.csv", "image,top,left,bottom,right", "p.jpg,1,2,5,6")
    monkeypatch.chdir(tmp_path)
    detector = StoredFaces(table, root=Path("photos"))
    assert len(detector.detect(IMAGE, tmp_path / "photos/p.jpg")) == 1
    assert len(detector.detect(IMAGE, Path("photos/p.jpg"))) == 1


def test_landmarks(tmp_path) -> None:
    table = write(
        tmp_path / "boxes.csv", ",".join(["image,top,left,bottom,right", *POINTS]),
        "p.jpg,1,2,5,6," + ",".join(map(str, range(10))), "p.jpg,0,0,2,2" + "," * 10,
    )  # fmt: skip
    large, small = StoredFaces(table).detect(IMAGE, tmp_path / "p.jpg")
    np.testing.assert_array_equal(large.landmarks, np.arange(10).reshape(5, 2))
    assert large.landmarks.dtype == np.float32
    assert small.landmarks is None


def test_images_without_a_line(tmp_path) -> None:
    table = write(tmp_path / "boxes.csv", "image,top,left,bottom,right")
    with pytest.raises(ValueError, match=r"expected a line for p\.jpg in .*boxes\.csv, found none"):
        StoredFaces(table).detect(IMAGE, tmp_path / "p.jpg")
    assert StoredFaces(table, allow_missing=True).detect(IMAGE, tmp_path / "p.jpg") == ()
    with pytest.raises(ValueError, match="expected the path of the image"):
        StoredFaces(table).detect(IMAGE)


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("image,top,left,bottom,right", "p.jpg,1,2,x,6", "a number in column bottom, line 2"),
        ("image,top,left,bottom,right", "p.jpg,5,2,5,6", "more than 5 in column bottom, line 2"),
        ("image,top,left,bottom,right", "p.jpg,1,6,5,6", "more than 6 in column right, line 2"),
        ("image,top,left,bottom,right", "p.jpg,1,,5,6", "a number in column left, line 2"),
        ("image,top,left,bottom,right,confidence", "p.jpg,1,2,5,6,2", r"in \[0, 1\] in column con"),
        ("image,top,left,right", "p.jpg,1,2,6", "expected columns image,top,left,bottom,right"),
        (
            "image,top,left,bottom,right,x0,y0",
            "p.jpg,1,2,5,6,1,1",
            "5 or 68 points .* got 1 points",
        ),
    ],
)
def test_wrong_tables_are_refused(tmp_path, header, line, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_boxes(write(tmp_path / "boxes.csv", header, line))


def test_a_table_is_needed(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"detector\.init_args\.table"):
        StoredFaces()
    with pytest.raises(FileNotFoundError, match=r"expected the table .*gone\.csv"):
        StoredFaces(tmp_path / "gone.csv")


def test_yunet_needs_a_model_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ONNX file of YuNet, got no path; take face_det"):
        YuNet()
    gone = tmp_path / "gone.onnx"
    with pytest.raises(FileNotFoundError, match=f"got nothing at {re.escape(str(gone))}"):
        YuNet(gone)
    (tmp_path / "words.onnx").write_text("no network")
    with pytest.raises(ValueError, match="a file that OpenCV cannot read"):
        YuNet(tmp_path / "words.onnx").detect(IMAGE)


def test_rows_of_yunet_become_faces() -> None:
    points = np.arange(10) + 20.0
    row = np.array([[4, 8, 10, 20, *points, 0.75]], np.float32)
    (face,) = faces_of_rows(row, factor=0.5)
    assert face.box == (16, 8, 56, 28)
    assert face.confidence == 0.75
    np.testing.assert_allclose(face.landmarks, 2 * points.reshape(5, 2))
    assert faces_of_rows(None) == []
