from __future__ import annotations

import shutil

import numpy as np
import pytest

from clad.data.datamodule import AnomalyDataModule
from clad.data.face_folders import FaceFolders
from clad.data.tiny_faces import save_clip
from clad.data.wild_deepfake import WildDeepfake
from clad.faces.index import FaceRow, write_index


def clip(root, name, seed, is_fake=False):
    save_clip(root / name, np.random.default_rng(seed), 2, is_fake)


def videos(samples):
    return sorted({s.origin.video for s in samples})


@pytest.fixture
def root(tmp_path):
    FaceFolders().write_tiny(tmp_path)
    return tmp_path


def test_methods_are_folders_inside_of_fake_and_masks_lie_beside(root):
    splits = FaceFolders().list_samples(root, "all", seed=0)
    assert videos(s for s in splits.test if s.label) == [
        "test/fake/reenact/r0", "test/fake/reenact/r1", "test/fake/swap/s0", "test/fake/swap/s1",
    ]  # fmt: skip
    assert {s.defect_type for s in splits.test} == {"good", "reenact", "swap"}
    masked = [s for s in splits.test if s.mask_path is not None]
    assert {s.defect_type for s in masked} == {"swap"}
    assert all(s.mask_path.parts[-4:-1] == ("mask", "swap", s.image_path.parent.name)
               for s in masked)  # fmt: skip
    assert {s.group for s in splits.test if not s.label} == {
        "face_folders/test/real/r0", "face_folders/test/real/r1",
    }  # fmt: skip


def test_only_some_methods_are_trained_on(root):
    splits = FaceFolders(train_methods=["swap"]).list_samples(root, "all", seed=0)
    fitted = (*splits.train, *splits.validation)
    assert {s.defect_type for s in fitted} == {"good", "swap"}
    assert {s.defect_type for s in splits.test} == {"good", "reenact", "swap"}
    with pytest.raises(ValueError, match=r"train_methods to be one of reenact, swap; got 'morph'"):
        FaceFolders(train_methods=["morph"]).list_samples(root, "all", seed=0)


def test_folders_without_roles_are_split_by_video(tmp_path):
    for i in range(10):
        clip(tmp_path, f"real/{i}", i)
        clip(tmp_path, f"fake/{i}", i + 20, is_fake=True)
    splits = FaceFolders(test_fraction=0.2).list_samples(tmp_path, "all", seed=0)
    assert len(videos(s for s in splits.test if s.label == 0)) == 2
    assert len(videos(s for s in splits.test if s.label == 1)) == 2
    assert {s.defect_type for s in splits.test} == {"good", "fake"}
    assert "not official" in splits.notes[0]


def test_faces_cut_of_videos_and_of_frames_are_read_where_they_come_from(tmp_path):
    rows = []
    for i, (kind, source) in enumerate(
        [("real", "a.mp4"), ("real", "b/007.png"), ("fake", "swap/c.mp4")]
    ):
        source = f"test/{kind}/{source}"
        crop = source.rsplit(".", 1)[0]
        clip(tmp_path, crop, i, kind == "fake")
        is_video = source.endswith("mp4")
        names = ("000", "001") if is_video else ("000",)
        if not is_video:
            (tmp_path / crop / "001.png").unlink()
        rows += [
            FaceRow(f"{crop}/{n}.png", source, is_video, int(n), 0, 0, 0, 8, 8, 64, 64)
            for n in names
        ]
    write_index(tmp_path / "faces.csv", rows)
    splits = FaceFolders().list_samples(tmp_path, "all", seed=0)
    assert videos(splits.test) == ["test/fake/swap/c", "test/real/a", "test/real/b"]
    assert [s.origin.frame for s in splits.test if s.origin.video == "test/real/b"] == [
        "test/real/b#007"
    ]
    assert {s.defect_type for s in splits.test if s.label} == {"swap"}


def test_a_table_names_other_trees(tmp_path):
    for i, name in enumerate(["src/000", "src/001", "src/002", "out/000_001", "out/001_000"]):
        clip(tmp_path, name, i, name.startswith("out"))
    (tmp_path / "videos.csv").write_text(
        "video,label,role,method,people\n"
        "src/000,real,train,,000\nsrc/001,real,train,,001\nsrc/002,real,test,,002\n"
        "out/000_001,fake,train,swap,000;001\nout/001_000,fake,test,swap,900\n"
    )
    source = FaceFolders(table="videos.csv")
    splits = source.list_samples(tmp_path, "all", seed=0)
    assert videos(splits.train) == ["out/000_001", "src/000", "src/001"]
    assert {s.group for s in splits.train} == {"face_folders/000"}
    assert videos(splits.test) == ["out/001_000", "src/002"]
    table = (tmp_path / "videos.csv").read_text()
    (tmp_path / "videos.csv").write_text(table.replace("swap,900", "swap,001;000"))
    with pytest.raises(ValueError, match=r"1 group\(s\) in both train and test"):
        source.list_samples(tmp_path, "all", seed=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gone,real,test", r"a folder with images in column video, line 2 of .*videos\.csv"),
        ("real/a,1,test", r"real or fake in column label, line 2 .* got '1'"),
        ("real/a,real,dev", r"train or validation or test in column role, line 2"),
        ("../x,real,test", r"relative path .* column video, line 2"),
        ("real/a,real,test\nreal/a,real,test", r"no line above names in column video, line 3"),
        (
            "real/a,real,test\nfake/b,fake,",
            r"a role for every video .* got 1 without, e\.g\. fake/b",
        ),
    ],
)
def test_wrong_tables_are_refused(tmp_path, line, message):
    clip(tmp_path, "real/a", 0)
    clip(tmp_path, "fake/b", 1)
    (tmp_path / "videos.csv").write_text(f"video,label,role\n{line}\n")
    with pytest.raises(ValueError, match=message):
        FaceFolders(table="videos.csv").list_samples(tmp_path, "all", seed=0)


def test_tiny_of_a_table_reads_back(tmp_path):
    source = FaceFolders(table="videos.csv")
    source.write_tiny(tmp_path)
    listed = source.list_samples(tmp_path, "all", seed=0)
    plain = FaceFolders().list_samples(tmp_path, "all", seed=0)
    assert videos(listed.test) == videos(plain.test)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/other/v", r"role, real or fake, and video, got train/other/v in"),
        ("real", r"role, real or fake, and video, got real in"),
        ("real/fake/v", r"got real/fake/v in"),
        ("train/test/real/v", r"got train/test/real/v in"),
    ],
)
def test_unclear_layouts_are_refused(tmp_path, name, message):
    clip(tmp_path, name, 0)
    with pytest.raises(ValueError, match=message):
        FaceFolders().list_samples(tmp_path, "all", seed=0)


def test_videos_alone_are_refused_and_beside_frames_said(root):
    (root / "test/real/new.mp4").touch()
    splits = FaceFolders().list_samples(root, "all", seed=0)
    assert any(
        "1 video files without frames are left out: test/real/new." in note for note in splits.notes
    )
    for folder in ("train", "test"):
        shutil.rmtree(root / folder)
    (root / "clip.mp4").touch()
    with pytest.raises(ValueError, match=r"run: clad faces .* --output .*_faces"):
        FaceFolders().list_samples(root, "all", seed=0)


def test_origins_reach_the_batches(root):
    module = AnomalyDataModule(FaceFolders(), root, image_size=8, num_workers=0)
    batch = next(iter(module.test_dataloader()))
    assert [origin.video for origin in batch.origins] == [
        s.origin.video for s in module.splits.test
    ]


def test_sequences_of_wild_deepfake(tmp_path):
    WildDeepfake().write_tiny(tmp_path)
    clip(tmp_path, "fake_test/1/fake/77", 70, is_fake=True)
    splits = WildDeepfake().list_samples(tmp_path, "all", seed=0)
    assert videos(s for s in splits.test if s.label) == [
        "fake_test/0/fake/0", "fake_test/1/fake/0", "fake_test/1/fake/77",
    ]  # fmt: skip
    groups = {s.origin.video: s.group for s in splits.test}
    assert groups["fake_test/1/fake/0"] == groups["fake_test/1/fake/77"]
    assert groups["fake_test/1/fake/0"] != groups["fake_test/0/fake/0"]
    assert len(videos(s for s in splits.train if s.label == 0)) == 4
    assert len(videos(splits.validation)) == 1


def test_contradicting_or_packed_wild_deepfake_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found none; it holds real_train/"):
        WildDeepfake().list_samples(tmp_path, "all", seed=0)
    clip(tmp_path, "fake_test/0/real/1", 0)
    with pytest.raises(ValueError, match=r"like fake_test/0/fake/12/ .* got images in .*real/1"):
        WildDeepfake().list_samples(tmp_path, "all", seed=0)
    shutil.rmtree(tmp_path / "fake_test/0")
    (tmp_path / "fake_test/0.tar.gz").touch()
    with pytest.raises(ValueError, match=r"unpacked archives in .*fake_test, got 1, e\.g\. 0\.tar"):
        WildDeepfake().list_samples(tmp_path, "all", seed=0)
