"""Folders of people: splits, crops and names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import drawn_face

from clad.data.people import crop_face, few_per_person, file_stems, list_faces, split_people
from clad.data.tiny import save
from clad.faces.index import write_landmarks
from clad.samples import Sample

ROOT = Path("root")


@pytest.fixture
def samples():
    names = [f"person_{person:03d}/{frame:02d}.jpg" for person in range(10) for frame in range(2)]
    return [Sample(ROOT / name, 0, "face", group=name[:10]) for name in names]


def test_faces_with_landmarks_are_listed_and_others_counted(tmp_path):
    face = drawn_face(0, (40, 40))
    for name in ("b/1.jpg", "a/2.jpg", "a/without.png"):
        save(face.image, tmp_path / name)
    write_landmarks(
        tmp_path / "landmarks.csv", dict.fromkeys(("b/1.jpg", "a/2.jpg"), face.landmarks)
    )
    found, num_without = list_faces(tmp_path)
    assert num_without == 1
    assert [(s.image_path.name, s.group, s.label, s.domain) for s in found] == [
        ("2.jpg", "a", 0, "face"),
        ("1.jpg", "b", 0, "face"),
    ]
    np.testing.assert_array_equal(found[0].landmarks, face.landmarks)


def test_split_is_by_person_and_seed(samples):
    parts = split_people(samples, 0)
    groups = {role: {sample.group for sample in part} for role, part in parts.items()}
    assert {role: len(group) for role, group in groups.items()} == {
        "train": 6, "validation": 2, "test": 2,
    }  # fmt: skip
    assert split_people(samples, 0) == parts
    assert any(split_people(samples, seed) != parts for seed in (1, 2, 3))


def test_crop_of_a_face_at_the_edge_is_mirrored():
    image = np.arange(40 * 50 * 3, dtype=np.uint32).reshape(40, 50, 3).astype(np.uint8)
    points = np.zeros((68, 2), np.float32)
    points[1] = (19, 9)
    cropped, moved = crop_face(image, points, 2.0, 38)
    # Box 19 x 9 px, square 38 px with its middle at (9.5, 4.5): from -9 and -14.
    np.testing.assert_array_equal(cropped[14:, 9:], image[:24, :29])
    np.testing.assert_array_equal(cropped[14:, :9], image[:24, 9:0:-1])
    np.testing.assert_allclose(moved[:2], [[9, 14], [28, 23]])


def test_without_a_crop_whole_images_are_taken():
    face = drawn_face(1, (60, 80))
    image, points = crop_face(face.image, face.landmarks, 0, 40)
    assert image.shape == (40, 40, 3)
    np.testing.assert_allclose((points + 0.5) * (2, 1.5) - 0.5, face.landmarks, atol=1e-4)


def test_two_images_of_one_name_are_refused(samples):
    twin = replace(samples[0], image_path=samples[0].image_path.with_suffix(".png"))
    with pytest.raises(ValueError, match=r"both of which become person_000_00\.png"):
        file_stems([samples[0], twin], ROOT)


def test_few_per_person_are_evenly_spaced():
    samples = [
        Sample(Path(f"{person}/{frame}.png"), 0, "face", group=person)
        for person, count in (("a", 9), ("b", 2), ("c", 4))
        for frame in range(count)
    ]
    assert few_per_person(samples, None) == tuple(samples)
    kept = [str(sample.image_path) for sample in few_per_person(samples, 3)]
    assert kept == [
        "a/0.png",
        "a/4.png",
        "a/8.png",
        "b/0.png",
        "b/1.png",
        "c/0.png",
        "c/2.png",
        "c/3.png",
    ]
    assert len(few_per_person(samples, 1)) == 3
