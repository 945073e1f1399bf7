"""What every detector in configs/faces/ must keep; a new YAML is covered at once.

Those that need a file get one of the test's making: random weights, or a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import torch
import yaml
from skimage import data

from clad.faces.base import DetectedFace, FaceDetector
from clad.faces.mtcnn_networks import new_networks

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "faces").glob("*.yaml"))
SIZES = ((1, 1), (3, 200), (30, 30), (90, 64))

each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def build(settings: dict[str, Any]) -> FaceDetector:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--detector", type=FaceDetector)
    return parser.instantiate_classes(parser.parse_object(settings)).detector


@pytest.fixture
def folder(tmp_path) -> Path:
    """Files that detectors may ask for."""
    torch.manual_seed(0)
    for letter, network in zip("pro", new_networks(), strict=True):
        torch.save(network.state_dict(), tmp_path / f"{letter}net.pt")
    lines = [
        "image,top,left,bottom,right,confidence",
        "portrait.png,70,178,160,268,1",
        "portrait.png,300,10,320,40,0.5",
        *(f"{height}.png,,,,," for height, _ in SIZES),
    ]
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def load(path: Path, folder: Path) -> FaceDetector:
    settings = yaml.safe_load(path.read_text())
    assert set(settings) == {"detector"}, f"{path.name} sets other keys than `detector`"
    given = settings["detector"].setdefault("init_args", {})
    if "weights" in given:
        given["weights"] = str(folder)
    if "table" in given:
        given["table"] = str(folder / "boxes.csv")
    if "model" in given and given["model"] is None:
        pytest.skip("needs a model file that nobody ships in a package")
    return build(settings)


def check(face: DetectedFace) -> None:
    assert len(face.box) == 4
    assert all(type(edge) in (float, int) for edge in face.box)
    top, left, bottom, right = face.box
    assert top < bottom
    assert left < right
    assert 0 <= face.confidence <= 1
    if face.landmarks is not None:
        assert face.landmarks.shape in ((5, 2), (68, 2))
        assert face.landmarks.dtype == np.float32


def test_configs_are_found() -> None:
    assert {path.stem for path in CONFIGS} >= {"cascade", "mtcnn", "stored", "yunet"}


@each_config
def test_faces_are_well_formed_sorted_and_the_same_again(path, folder) -> None:
    detector = load(path, folder)
    image = data.astronaut()
    before = image.copy()
    faces = detector.detect(image, folder / "portrait.png")
    for face in faces:
        check(face)
    areas = [(b - t) * (r - left) for t, left, b, r in (face.box for face in faces)]
    assert areas == sorted(areas, reverse=True)
    np.testing.assert_array_equal(image, before)
    again = load(path, folder).detect(image, folder / "portrait.png")
    assert [face.box for face in again] == [face.box for face in faces]


@each_config
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_is_answered(path, folder, size) -> None:
    detector = load(path, folder)
    for image in (np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8)):
        faces = detector.detect(image, folder / f"{size[0]}.png")
        assert isinstance(faces, tuple)
        for face in faces:
            check(face)


@each_config
def test_views_that_are_not_contiguous_are_taken(path, folder) -> None:
    image = data.astronaut()[:, ::-1]
    assert not image.flags.c_contiguous
    detector = load(path, folder)
    faces = detector.detect(image, folder / "portrait.png")
    same = detector.detect(np.ascontiguousarray(image), folder / "portrait.png")
    assert [face.box for face in faces] == [face.box for face in same]
