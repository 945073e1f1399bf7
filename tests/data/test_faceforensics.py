from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from clad.data.datamodule import AnomalyDataModule
from clad.data.faceforensics import FaceForensics, read_official
from clad.data.tiny import save_normals
from clad.data.tiny_faces import save_clip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("ff") / "root"
    FaceForensics().write_tiny(root)
    return root


@pytest.fixture
def root(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "root")
    return tmp_path / "root"


def videos(samples, label):
    return sorted({s.origin.video.split("/")[-1] for s in samples if s.label == label})


def test_official_pairs_are_followed(tiny):
    splits = FaceForensics().list_samples(tiny, "all", seed=7)
    assert videos(splits.validation, 0) == ["006", "007"]
    assert videos(splits.validation, 1) == ["006_007", "007_006"]
    assert videos(splits.test, 0) == ["008", "009"]
    assert videos(splits.train, 0) == ["000", "001", "002", "003", "004", "005"]
    assert {s.group for s in splits.test} == {"faceforensics/youtube/008"}
    assert {s.defect_type for s in splits.test} == {"good", "Deepfakes", "Face2Face"}
    assert splits.notes[0] == (
        "faceforensics: split as the owner stored it; all stored frames of each video."
    )
    assert splits.notes[1] == (
        "faceforensics train: real 6 videos (12 frames), Deepfakes 6 videos (12 frames), "
        "Face2Face 6 videos (12 frames)."
    )
    assert splits.notes[-1] == "faceforensics: 20 of 40 fake images have a mask."


def test_masks_are_those_of_the_frame(tiny):
    splits = FaceForensics().list_samples(tiny, "all", seed=0)
    masked = [s for s in splits.test if s.mask_path is not None]
    assert {s.defect_type for s in masked} == {"Deepfakes"}
    for sample in masked:
        assert sample.mask_path.parts[-4:-2] == ("masks", "frames")
        assert sample.mask_path.parts[-2:] == sample.image_path.parts[-2:]


def test_methods_of_training_and_test_differ(tiny):
    source = FaceForensics(train_methods=["Deepfakes"], test_methods=["Face2Face"])
    splits = source.list_samples(tiny, "all", seed=0)
    assert {s.defect_type for s in splits.train} == {"good", "Deepfakes"}
    assert {s.defect_type for s in splits.validation} == {"good", "Deepfakes"}
    assert {s.defect_type for s in splits.test} == {"good", "Face2Face"}


def test_frames_per_video_are_counted_in_note_and_fingerprint(root):
    for folder in (root / "original_sequences/youtube/c23/frames").iterdir():
        shutil.rmtree(folder)
        save_normals(folder, 9, np.random.default_rng(int(folder.name)))
    source = FaceForensics(frames_per_video=3)
    module = AnomalyDataModule(source, root)
    real = [s for s in module.splits.test if s.label == 0]
    assert [s.image_path.stem for s in real] == ["000", "004", "008"] * 2
    assert "3 evenly spaced ones of the stored frames" in module.splits.notes[0]
    assert module.fingerprint()["frames_per_video"] == 3


def test_category_per_method(tiny):
    splits = FaceForensics(category_per_method=True).list_samples(tiny, "all", seed=0)
    assert {(s.category, s.label) for s in splits.test} == {
        ("face", 0),
        ("Deepfakes", 1),
        ("Face2Face", 1),
    }


def test_without_lists_pairs_are_dealt_out_and_said(root):
    shutil.rmtree(root / "splits")
    splits = FaceForensics().list_samples(root, "all", seed=0)
    groups = [{s.group for s in getattr(splits, r)} for r in ("train", "validation", "test")]
    assert [len(found) for found in groups] == [3, 1, 1]
    assert len(set().union(*groups)) == 5
    assert "split by seed 0, not official" in splits.notes[0]
    assert any("so the split is not official" in note for note in splits.notes)


def test_lists_in_the_root_are_read_too(root):
    for path in (root / "splits").iterdir():
        path.rename(root / path.name)
    (root / "splits").rmdir()
    assert read_official(root)["008"] == "test"


def test_incomplete_and_contradicting_lists_are_refused(root):
    path = root / "splits/test.json"
    path.write_text(json.dumps([["008", "000"]]))
    with pytest.raises(ValueError, match=r"got 000 in train\.json and test\.json"):
        FaceForensics().list_samples(root, "all", seed=0)
    path.write_text('[["008"]]')
    with pytest.raises(ValueError, match=r"list of pairs .* got \['008'\] as entry 1"):
        FaceForensics().list_samples(root, "all", seed=0)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"found no test\.json"):
        FaceForensics().list_samples(root, "all", seed=0)


def test_a_fake_of_two_roles_is_refused(root):
    folder = root / "manipulated_sequences/Deepfakes/c23/frames"
    (folder / "000_001").rename(folder / "000_008")
    with pytest.raises(ValueError, match=r"one role for .*000_008, got 000 in train, 008 in test"):
        FaceForensics().list_samples(root, "all", seed=0)


def test_a_copied_video_in_two_roles_is_refused(root):
    folder = root / "original_sequences/youtube/c23/frames"
    shutil.rmtree(folder / "008")
    shutil.copytree(folder / "000", folder / "008")
    with pytest.raises(ValueError, match=r"train and test to share no image, got 1 in both"):
        FaceForensics().list_samples(root, "all", seed=0)


def test_actors_are_tested_alone_and_only_if_named(root):
    rng = np.random.default_rng(5)
    save_clip(root / "original_sequences/actors/c23/frames/01__talk", rng)
    fake = root / "manipulated_sequences/DeepFakeDetection/c23/frames/01_02__talk__ABC"
    save_clip(fake, rng, 2, is_fake=True)
    splits = FaceForensics().list_samples(root, "all", seed=0)
    assert "DeepFakeDetection" not in {s.defect_type for s in splits.test}
    assert any("left out unless test_methods names it" in note for note in splits.notes)
    alone = FaceForensics(test_methods=["DeepFakeDetection"]).list_samples(root, "all", seed=0)
    assert not alone.train
    assert videos(alone.test, 0) == ["01__talk"]
    crossed = FaceForensics(train_methods=["Deepfakes"], test_methods=["DeepFakeDetection"])
    splits = crossed.list_samples(root, "all", seed=0)
    assert {s.defect_type for s in splits.train} == {"good", "Deepfakes"}
    assert videos(splits.test, 0) == ["01__talk"]
    assert videos(splits.test, 1) == ["01_02__talk__ABC"]
    with pytest.raises(ValueError, match=r"split by people, got DeepFakeDetection"):
        FaceForensics(train_methods=["DeepFakeDetection"])


def test_other_layouts_are_refused_with_what_to_do(root):
    with pytest.raises(FileNotFoundError, match=r"c40, found c23 in .*; choose another compr"):
        FaceForensics(compression="c40").list_samples(root, "all", seed=0)
    with pytest.raises(ValueError, match=r"expected FaceSwap in .*, found Deepfakes, Face2Face"):
        FaceForensics(train_methods=["FaceSwap"]).list_samples(root, "all", seed=0)
    with pytest.raises(ValueError, match="expected method to be one of"):
        FaceForensics(test_methods=["StyleGAN"])
    frames = root / "manipulated_sequences/Face2Face/c23/frames"
    (frames / "000_001").rename(frames / "first")
    with pytest.raises(ValueError, match=r"named like 000_003, got .*first"):
        FaceForensics().list_samples(root, "all", seed=0)
    shutil.rmtree(frames)
    (frames.parent / "videos").mkdir()
    (frames.parent / "videos" / "000_003.mp4").touch()
    with pytest.raises(ValueError, match=r"got 1 video.* run: clad faces .*root --output"):
        FaceForensics().list_samples(root, "all", seed=0)
