from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from clad.data.real_fake import RealFake
from clad.data.tiny import save
from clad.faces.index import FaceRow, write_index, write_landmarks


def write(root, **counts):
    """``train__real=3`` writes train/real/000.png and so on, each with another colour."""
    for folder, count in counts.items():
        for i in range(count):
            image = np.random.default_rng(len(folder) * 100 + i).integers(0, 255, (8, 8, 3))
            path = root.joinpath(*folder.split("__"))
            save(image.astype(np.uint8), path / f"{i:03d}.png")


def kinds(samples):
    return dict(Counter((s.category, s.label, s.defect_type) for s in samples))


def test_stored_splits_are_kept_and_validation_is_held_out_of_the_real(tmp_path):
    write(tmp_path, train__real=10, train__fake=6, test__real=2, test__fake=3)
    splits = RealFake(validation_fraction=0.2).list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.train) == {("face", 0, "good"): 8, ("face", 1, "fake"): 6}
    assert kinds(splits.validation) == {("face", 0, "good"): 2}
    assert kinds(splits.test) == {("face", 0, "good"): 2, ("face", 1, "fake"): 3}
    assert {s.domain for s in (*splits.train, *splits.validation, *splits.test)} == {"face"}
    assert {s.image_path.parts[-3] for s in splits.test} == {"test"}
    assert "as stored, validation held out of the real training images" in splits.notes[0]
    assert splits.notes[1] == "real_fake: fake test images fake 3."


def test_stored_validation_is_used_with_its_fakes(tmp_path):
    write(tmp_path, TRAIN__Real=4, TRAIN__Fake=4, Val__0_REAL=2, Val__1_fake=2, test__real=1)
    splits = RealFake().list_samples(tmp_path, "all", seed=0)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [8, 4, 1]
    assert sum(s.label for s in splits.validation) == 2


def test_one_folder_per_generator_is_a_category(tmp_path):
    write(
        tmp_path,
        train__progan__0_real=6,
        train__progan__1_fake=6,
        test__progan__0_real=2,
        test__progan__1_fake=2,
        test__stylegan__0_real=3,
        test__stylegan__1_fake=1,
    )
    source = RealFake(validation_fraction=0)
    splits = source.list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.train) == {("progan", 0, "good"): 6, ("progan", 1, "progan"): 6}
    assert kinds(splits.test) == {
        ("progan", 0, "good"): 2,
        ("progan", 1, "progan"): 2,
        ("stylegan", 0, "good"): 3,
        ("stylegan", 1, "stylegan"): 1,
    }
    only = source.list_samples(tmp_path, ["stylegan"], seed=0)
    assert len(only.test) == 4
    assert not only.train
    as_one = RealFake(category_per_generator=False).list_samples(tmp_path, "all", seed=0)
    assert kinds(as_one.test) == {
        ("face", 0, "good"): 5,
        ("face", 1, "progan"): 2,
        ("face", 1, "stylegan"): 1,
    }


def test_generator_with_folders_of_objects_inside_as_progan_has(tmp_path):
    write(tmp_path, train__progan__car__0_real=2, train__progan__car__1_fake=2,
          test__progan__cat__0_real=1, test__progan__cat__1_fake=1)  # fmt: skip
    splits = RealFake(validation_fraction=0).list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.test) == {("progan", 0, "good"): 1, ("progan", 1, "progan"): 1}


def test_generators_inside_of_fake_share_the_real_images(tmp_path):
    write(tmp_path, test__real=3, test__fake__stylegan2=2, test__fake__diffusion=1)
    splits = RealFake().list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.test) == {
        ("face", 0, "good"): 3,
        ("face", 1, "stylegan2"): 2,
        ("face", 1, "diffusion"): 1,
    }
    assert not splits.train
    assert not splits.validation


def test_split_inside_of_the_generator_folder(tmp_path):
    write(tmp_path, sdxl__train__real=2, sdxl__train__fake=2, sdxl__test__real=1)
    splits = RealFake(validation_fraction=0).list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.train) == {("sdxl", 0, "good"): 2, ("sdxl", 1, "sdxl"): 2}


def test_missing_splits_are_carved_by_seed(tmp_path):
    write(tmp_path, real=50, fake=30)
    source = RealFake(validation_fraction=0.1, test_fraction=0.2)
    splits = source.list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.test) == {("face", 0, "good"): 10, ("face", 1, "fake"): 6}
    assert kinds(splits.validation) == {("face", 0, "good"): 4}
    assert kinds(splits.train) == {("face", 0, "good"): 36, ("face", 1, "fake"): 24}
    assert source.list_samples(tmp_path, "all", seed=1).test != splits.test
    assert source.list_samples(tmp_path, "all", seed=0) == splits


def test_stored_train_without_test_gives_some_up(tmp_path):
    write(tmp_path, train__real=10, train__fake=10)
    splits = RealFake(validation_fraction=0).list_samples(tmp_path, "all", seed=0)
    assert [len(splits.train), len(splits.test)] == [16, 4]
    assert sum(s.label for s in splits.test) == 2


def test_fakes_can_be_kept_out_of_training(tmp_path):
    write(tmp_path, train__real=10, train__fake=6, val__real=2, val__fake=2, test__fake=3)
    source = RealFake(train_on_fakes=False)
    splits = source.list_samples(tmp_path, "all", seed=0)
    assert not any(s.label for s in (*splits.train, *splits.validation))
    assert len(splits.test) == 3
    assert not source.trains_on_anomalies
    assert RealFake().trains_on_anomalies


def forged(root):
    """What ``clad forge`` writes: faces P_F, methods, masks, landmarks and people."""
    landmarks, people = {}, ["image,person\n"]
    for role, persons in (("train", "abc"), ("validation", "d"), ("test", "ef")):
        for seed, person in enumerate(persons):
            rng = np.random.default_rng(ord(person))
            places = [f"{role}/real/{person}_0.png"]
            places += [f"{role}/fake/{method}/{person}_0.png" for method in ("hull", "mouth")]
            for place in places:
                save(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8), root / place)
                landmarks[place] = np.full((68, 2), seed, dtype=np.float32)
                people.append(f"{place},{person}\n")
                if "fake" in place:
                    mask = rng.random((8, 8)) > 0.5
                    save(mask, root / place.replace("fake", "mask"))
    write_landmarks(root / "landmarks.csv", landmarks)
    (root / "people.csv").write_text("".join(people))


def test_forged_faces_have_masks_landmarks_and_people(tmp_path):
    forged(tmp_path)
    splits = RealFake().list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.test) == {
        ("face", 0, "good"): 2,
        ("face", 1, "hull"): 2,
        ("face", 1, "mouth"): 2,
    }
    for sample in (*splits.train, *splits.validation, *splits.test):
        assert sample.group == sample.image_path.name[0]
        assert sample.landmarks.shape == (68, 2)
        if sample.label:
            parts = [part.replace("fake", "mask") for part in sample.image_path.parts]
            assert list(sample.mask_path.parts) == parts
        else:
            assert sample.mask_path is None
    assert "masks of 12 of 12 fake images." in splits.notes[0]


def test_only_some_kinds_of_fakes_are_trained_on(tmp_path):
    forged(tmp_path)
    source = RealFake(train_methods=["hull"])
    splits = source.list_samples(tmp_path, "all", seed=0)
    assert {s.defect_type for s in (*splits.train, *splits.validation)} == {"good", "hull"}
    assert {s.defect_type for s in splits.test} == {"good", "hull", "mouth"}
    assert "fakes of training only of hull" in splits.notes[0]
    with pytest.raises(ValueError, match=r"train_methods to be one of hull, mouth; got 'nose'"):
        RealFake(train_methods=["nose"]).list_samples(tmp_path, "all", seed=0)


def test_a_person_in_two_roles_is_refused(tmp_path):
    forged(tmp_path)
    table = tmp_path / "people.csv"
    table.write_text(table.read_text().replace("test/real/e_0.png,e", "test/real/e_0.png,a"))
    with pytest.raises(ValueError, match=r"1 group\(s\) in both train and test, e\.g\. group a"):
        RealFake().list_samples(tmp_path, "all", seed=0)


def test_masks_of_generators_and_those_that_fit_nothing(tmp_path):
    write(tmp_path, test__sg__0_real=1, test__sg__1_fake=2, test__sg__mask=3)
    splits = RealFake().list_samples(tmp_path, "all", seed=0)
    assert [s.mask_path.name for s in splits.test if s.label] == ["000.png", "001.png"]
    assert "masks of 2 of 2 fake images, 1 masks fit no fake image." in splits.notes[0]


def test_cut_faces_are_read_where_they_come_from(tmp_path):
    write(tmp_path, test__real__p=1, test__fake__swap__v=2)
    rows = [
        FaceRow("test/real/p/000.png", "test/real/p.jpg", False, 0, 0, 0, 0, 8, 8, 9, 9),
        *(
            FaceRow(f"test/fake/swap/v/{i:03d}.png", "test/fake/swap/v.mp4", True, i, 0, 0, 0, 8, 8,
                    9, 9)
            for i in range(2)
        ),
    ]  # fmt: skip
    write_index(tmp_path / "faces.csv", rows)
    splits = RealFake().list_samples(tmp_path, "all", seed=0)
    assert kinds(splits.test) == {("face", 0, "good"): 1, ("face", 1, "swap"): 2}
    assert [(s.origin.frame, s.origin.video) for s in splits.test] == [
        ("test/fake/swap/v.mp4#000000", "test/fake/swap/v.mp4"),
        ("test/fake/swap/v.mp4#000001", "test/fake/swap/v.mp4"),
        ("test/real/p.jpg", None),
    ]
    assert {s.group for s in splits.test if s.label} == {"test/fake/swap/v.mp4"}


def test_videos_alone_are_refused_with_the_command(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mp4").touch()
    with pytest.raises(ValueError, match=r"got 1 video\(s\), e\.g\. a\.mp4; run: clad faces "):
        RealFake().list_samples(tmp_path, "all", seed=0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"expected images in .*, found none; accepted are folders real/ and fake/"),
        ({"train__good": 1}, r"say whether .*000\.png is real or fake, got train/good; accepted"),
        ({"real__fake": 1}, r"say whether .* is real or fake, got real/fake; accepted"),
        ({"train__test__real": 1}, r"expected one split for .*000\.png, got train, test"),
        ({"train__real": 1, "fake": 1}, r"in train/, val/ or test/, or none of them, got both"),
    ],
)
def test_unclear_layouts_are_refused(tmp_path, counts, message):
    write(tmp_path, **counts)
    with pytest.raises(ValueError, match=message):
        RealFake().list_samples(tmp_path, "all", seed=0)
