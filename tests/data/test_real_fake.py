from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from clad.data.real_fake import RealFake
from clad.data.tiny import save


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
