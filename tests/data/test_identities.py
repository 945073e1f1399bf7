from __future__ import annotations

import shutil

import numpy as np
import pytest

from clad.data.identities import Identities
from clad.data.tiny import normal_texture, save
from clad.faces.index import FaceRow, read_landmarks, write_index
from clad.samples import Origin

ROLES = ("train", "validation", "test")


def photo(root, name, seed):
    save(normal_texture(np.random.default_rng(seed)), root / name)


@pytest.fixture
def root(tmp_path):
    Identities().write_tiny(tmp_path / "faces")
    return tmp_path / "faces"


def test_people_are_split_and_carry_landmarks(root):
    splits = Identities().list_samples(root, "all", seed=0)
    people = [{s.group for s in getattr(splits, role)} for role in ROLES]
    assert [len(found) for found in people] == [7, 1, 2]
    assert len(set().union(*people)) == 10
    stored = read_landmarks(root / "landmarks.csv")
    for sample in (*splits.train, *splits.validation, *splits.test):
        name = sample.image_path.relative_to(root).as_posix()
        np.testing.assert_array_equal(sample.landmarks, stored[name])
        assert sample.group == sample.image_path.parent.name
        assert sample.origin == Origin(name)
        assert (sample.label, sample.category, sample.domain) == (0, "face", "face")
    assert splits.notes == (
        "identities: split by person with seed 0; real faces only; train 7 people (14 images), "
        "validation 1 people (2 images), test 2 people (4 images).",
        "identities: 20 of 20 images have 68 landmarks.",
    )
    assert Identities().list_samples(root, "all", seed=1).test != splits.test


def test_stored_roles_are_kept_and_a_person_in_two_is_refused(tmp_path):
    for i, name in enumerate(["train/anna/0.png", "Val/bert/0.png", "test/carl/0.png"]):
        photo(tmp_path, name, i)
    splits = Identities().list_samples(tmp_path, "all", seed=0)
    assert [[s.group for s in getattr(splits, r)] for r in ROLES] == [["anna"], ["bert"], ["carl"]]
    photo(tmp_path, "test/anna/1.png", 9)
    with pytest.raises(ValueError, match=r"1 group\(s\) in both train and test, e\.g\. group anna"):
        Identities().list_samples(tmp_path, "all", seed=0)


def test_one_person_under_two_names_is_one_person(root):
    names = [f"person_{i}/{j:02d}.png" for i in range(10) for j in range(2)]
    people = ["anna" if int(name[7]) < 8 else name[:8] for name in names]
    lines = [f"{name},{person}\n" for name, person in zip(names, people, strict=True)]
    (root / "people.csv").write_text("image,person\n" + "".join(lines))
    splits = Identities().list_samples(root, "all", seed=0)
    found = [{s.group for s in getattr(splits, role)} for role in ROLES]
    assert sorted(map(len, found)) == [1, 1, 1]
    assert set().union(*found) == {"anna", "person_8", "person_9"}


def test_a_copied_photograph_in_two_roles_is_refused(tmp_path):
    photo(tmp_path, "train/anna/0.png", 0)
    photo(tmp_path, "test/bert/0.png", 1)
    shutil.copy(tmp_path / "train/anna/0.png", tmp_path / "test/bert/1.png")
    with pytest.raises(ValueError, match=r"train and test to share no image, got 1 in both"):
        Identities().list_samples(tmp_path, "all", seed=0)


def test_folders_of_frames_and_cut_faces_are_videos(tmp_path):
    photo(tmp_path, "anna/walk/000.png", 0)
    photo(tmp_path, "bert/000004_0.png", 1)
    row = FaceRow("bert/000004_0.png", "bert.mp4", True, 4, 0, 0, 0, 8, 8, 64, 64)
    write_index(tmp_path / "faces.csv", [row])
    splits = Identities(0, 0).list_samples(tmp_path, "all", seed=0)
    assert {(s.group, s.origin.frame, s.origin.video) for s in splits.train} == {
        ("anna", "anna/walk#000", "anna/walk"),
        ("bert", "bert.mp4#000004", "bert.mp4"),
    }


def test_unclear_layouts_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found no image; check data\.root"):
        Identities().list_samples(tmp_path, "all", seed=0)
    photo(tmp_path, "0.png", 0)
    with pytest.raises(ValueError, match=r"in a folder per person, got .*0\.png outside of one"):
        Identities().list_samples(tmp_path, "all", seed=0)
    (tmp_path / "0.png").unlink()
    photo(tmp_path, "train/anna/0.png", 0)
    photo(tmp_path, "bert/0.png", 1)
    with pytest.raises(ValueError, match=r"or none of them, got both, e\.g\. .*bert"):
        Identities().list_samples(tmp_path, "all", seed=0)
    with pytest.raises(ValueError, match=r"validation_fraction \+ test_fraction in \[0, 0\.9\]"):
        Identities(0.5, 0.5)
