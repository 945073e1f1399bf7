from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

from clad.data.folder import Folder
from clad.data.splits import check_disjoint
from clad.data.tiny import save, save_category

PIXELS = np.zeros((4, 4, 3), dtype=np.uint8)


def make(root, **counts):
    """Folders (``__`` stands for /) with that many images."""
    for name, number in counts.items():
        for i in range(number):
            prefix = name.replace("__", "_").strip(".") or "image"
            save(PIXELS, root / name.replace("__", "/") / f"{prefix}_{i}.png")
    return root


def read(root, **options):
    splits = Folder(**options).list_samples(root, "all", seed=0)
    check_disjoint(splits)
    assert all(s.label == 0 for s in splits.validation)
    return splits


def counts(samples):
    return Counter((s.defect_type, s.label) for s in samples)


def test_mvtec_layout_of_one_category(tmp_path):
    save_category(tmp_path / "nut", np.random.default_rng(0))
    splits = read(tmp_path / "nut", validation_fraction=0.25)
    assert counts(splits.train) == {("good", 0): 6}
    assert counts(splits.validation) == {("good", 0): 2}
    assert counts(splits.test) == {
        ("good", 0): 3, ("bright_spot", 1): 3, ("dark_spot", 1): 3
    }  # fmt: skip
    for sample in splits.test:
        if sample.label:
            assert sample.mask_path.parent.name == sample.defect_type
            assert sample.mask_path.stem == f"{sample.image_path.stem}_mask"
    assert "nut: defects bright_spot 3, dark_spot 3; 6 of 6 anomalous images have a mask." in (
        splits.notes
    )


def test_mvtec_layout_of_several_categories(tmp_path):
    for name in ("nut", "tile"):
        save_category(tmp_path / name, np.random.default_rng(0))
    assert Counter(s.category for s in read(tmp_path).test) == {"nut": 9, "tile": 9}
    chosen = Folder().list_samples(tmp_path, ["tile"], seed=0)
    assert {s.category for s in (*chosen.train, *chosen.test)} == {"tile"}


def test_good_beside_defects_without_splits(tmp_path):
    splits = read(make(tmp_path, good=20, scratch=3, dent=4), validation_fraction=0.2)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [12, 4, 4 + 7]
    assert counts(splits.test) == {("good", 0): 4, ("scratch", 1): 3, ("dent", 1): 4}
    assert all(s.label == 0 for s in splits.train)
    assert any("split by seed 0" in note for note in splits.notes)
    assert any("0 of 7 anomalous images have a mask" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("good", "bad"), [("Normal", "Abnormal"), ("OK", "NG"), ("ok", "Not-OK"), ("nominal", "bad")]
)
def test_names_are_understood_in_any_case(tmp_path, good, bad):
    splits = read(make(tmp_path, **{good: 10, bad: 2}))
    assert counts(splits.test) == {("good", 0): 2, (bad, 1): 2}


def test_train_and_test_with_normal_and_abnormal_inside(tmp_path):
    splits = read(make(tmp_path, Train__OK=10, Test__OK=3, Test__NG=2), validation_fraction=0.1)
    assert len(splits.train) == 9
    assert counts(splits.test) == {("good", 0): 3, ("NG", 1): 2}


def test_images_directly_in_train_and_a_stored_validation(tmp_path):
    splits = read(make(tmp_path, train=6, val__good=2, test__good=1, test__hole=1))
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [6, 2, 2]


def test_labelled_anomalies_in_train_stay_there(tmp_path):
    splits = read(make(tmp_path, train__good=8, train__cut=2, test__good=2, test__cut=2))
    assert counts(splits.train)[("cut", 1)] == 2


def test_good_images_only_flat_and_foldered(tmp_path):
    for root in (make(tmp_path / "flat", **{".": 10}), make(tmp_path / "in", good=10)):
        splits = read(root, validation_fraction=0.2)
        assert [len(splits.train), len(splits.validation), len(splits.test)] == [8, 2, 0]
        assert any("no test images" in note for note in splits.notes)


def test_test_with_held_out_normals_only_is_said(tmp_path):
    splits = read(make(tmp_path, train__good=8, test__good=3))
    assert counts(splits.test) == {("good", 0): 3}
    assert any("test holds no anomalous images" in note for note in splits.notes)


def test_test_only_has_no_training_images(tmp_path):
    splits = read(make(tmp_path, test__good=3, test__cut=2))
    assert not splits.train
    assert any("no training images" in note for note in splits.notes)


def test_nested_images_and_defects_below_a_general_name(tmp_path):
    splits = read(make(tmp_path, good__monday=6, good__tuesday=4, defective__cut=2, dent__deep=1))
    assert counts(splits.test) == {("good", 0): 2, ("cut", 1): 2, ("dent", 1): 1}


def test_hidden_files_are_ignored_and_others_counted(tmp_path):
    make(tmp_path, good=5, cut=1)
    (tmp_path / "good/.DS_Store").write_bytes(b"")
    (tmp_path / "good/._good_0.png").write_bytes(b"")
    (tmp_path / "good/notes.txt").write_text("x")
    (tmp_path / ".git").mkdir()
    splits = read(tmp_path)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 6
    assert "1 files that are not images were ignored." in splits.notes


@pytest.mark.parametrize("folder", ["masks", "Mask", "ground_truth", "labels", "GT"])
def test_flat_masks_are_paired_by_stem(tmp_path, folder):
    make(tmp_path, good=4, cut=2)
    save(PIXELS[..., 0] > 0, tmp_path / folder / "cut_0.png")
    save(PIXELS[..., 0] > 0, tmp_path / folder / "cut_1_mask.png")
    save(PIXELS[..., 0] > 0, tmp_path / folder / "other.png")
    splits = read(tmp_path)
    masks = {s.image_path.stem: s.mask_path.name for s in splits.test if s.label}
    assert masks == {"cut_0": "cut_0.png", "cut_1": "cut_1_mask.png"}
    assert any("1 masks fit no anomalous image" in note for note in splits.notes)


def test_mask_of_another_defect_is_never_taken(tmp_path):
    save_category(tmp_path, np.random.default_rng(0))
    shutil.rmtree(tmp_path / "ground_truth/dark_spot")
    masks = {s.defect_type: s.mask_path for s in read(tmp_path).test if s.label}
    assert masks["dark_spot"] is None
    assert masks["bright_spot"] is not None


def test_masks_may_repeat_the_split_folders(tmp_path):
    make(tmp_path, train__good=4, test__good=2, test__cut=1, train__cut=1)
    (tmp_path / "train/cut/train_cut_0.png").rename(tmp_path / "train/cut/same.png")
    (tmp_path / "test/cut/test_cut_0.png").rename(tmp_path / "test/cut/same.png")
    for split in ("train", "test"):
        save(PIXELS[..., 0] > 0, tmp_path / "masks" / split / "cut" / "same.png")
    splits = read(tmp_path)
    for role in ("train", "test"):
        bad = next(s for s in getattr(splits, role) if s.label)
        assert bad.mask_path == tmp_path / "masks" / role / "cut" / "same.png"


def test_flat_mask_that_two_images_could_claim_is_refused(tmp_path):
    for defect in ("cut", "dent"):
        save(PIXELS, tmp_path / defect / "000.png")
    save(PIXELS, tmp_path / "good" / "000.png")
    save(PIXELS[..., 0] > 0, tmp_path / "masks" / "000.png")
    with pytest.raises(ValueError, match=r"one image per mask, got .*cut/000.* and .*dent/000"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"cut": 2, "dent": 2}, r"got images in cut, dent and nothing named good"),
        ({"good": 2, "ok": 2}, r"got both good, ok"),
        ({".": 2, "good": 2}, r"got 2 images beside folders"),
        ({"train__good": 2, "cut": 2}, r"got cut beside split folders"),
        ({"train": 2, "test": 2}, r"in .*test, got 2 images outside of class folders"),
        ({"train__cut": 2, "test__good": 2}, r"in .*train, got no good, normal or ok"),
    ],
)
def test_ambiguous_layouts_say_what_was_found_and_what_is_accepted(tmp_path, folders, message):
    make(tmp_path, **folders)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path)
    assert "accepted are train/ and test/" in str(caught.value)


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected images in .*, found none; check data\.root"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"found nothing at .*absent"):
        read(tmp_path / "absent")


def test_split_depends_on_the_seed_only(tmp_path):
    make(tmp_path, good=30, cut=2)
    first, again = read(tmp_path), read(tmp_path)
    other = Folder().list_samples(tmp_path, "all", seed=1)
    assert first == again
    assert first.train != other.train
