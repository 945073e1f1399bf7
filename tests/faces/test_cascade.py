from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from clad.faces.boxes import overlaps
from clad.faces.cascade import CascadeDetector

# Eileen Collins in scikit-image's portrait: eyebrows to chin, ear to ear, read off by eye.
FACE = np.array([(70, 178, 160, 268)], dtype=float)


def test_portrait_has_its_face() -> None:
    (face,) = CascadeDetector().detect(data.astronaut())
    assert overlaps(np.array(face.box), FACE)[0] > 0.7
    assert face.confidence == 1
    assert face.landmarks is None


def test_large_photo_gives_boxes_in_its_own_pixels() -> None:
    large = np.asarray(Image.fromarray(data.astronaut()).resize((1024, 1024)))
    (face,) = CascadeDetector().detect(large)
    assert overlaps(np.array(face.box) / 2, FACE)[0] > 0.7


def test_cup_of_coffee_has_none() -> None:
    assert CascadeDetector().detect(data.coffee()) == ()


def test_two_portraits_side_by_side() -> None:
    portrait = data.astronaut()[:256, 64:384]
    faces = CascadeDetector().detect(np.concatenate((portrait, portrait[:, ::-1]), axis=1))
    assert len(faces) == 2
    columns = sorted((face.box[1] + face.box[3]) / 2 for face in faces)
    assert columns[0] < 320 < columns[1]


def test_smallest_face_is_a_share_of_the_image() -> None:
    assert CascadeDetector(smallest_share=0.5).detect(data.astronaut()) == ()


@pytest.mark.parametrize("size", [(1, 1), (23, 400), (400, 10)])
def test_images_smaller_than_the_window_have_none(size) -> None:
    assert CascadeDetector().detect(np.zeros((*size, 3), np.uint8)) == ()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"smallest_share": 0.0}, r"smallest_share in \[0\.001, 1\], got 0"),
        ({"scale_factor": 1.0}, "scale_factor"),
        ({"step_ratio": 0.5}, "step_ratio"),
        ({"min_neighbors": 0}, "min_neighbors"),
        ({"longest_side_px": 8}, "longest_side_px"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message) -> None:
    with pytest.raises(ValueError, match=message):
        CascadeDetector(**setting)
