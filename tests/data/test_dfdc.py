from __future__ import annotations

import json
import shutil

import pytest

from clad.data.dfdc import DFDC
from clad.data.dfdc_preview import DFDCPreview

FITTED = ("train", "validation")


def names(samples, label):
    return sorted({s.image_path.parent.name for s in samples if s.label == label})


@pytest.fixture
def root(tmp_path):
    DFDC().write_tiny(tmp_path)
    return tmp_path


@pytest.fixture
def preview(tmp_path):
    DFDCPreview().write_tiny(tmp_path)
    return tmp_path


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_fakes_stay_with_their_original(root):
    splits = DFDC(validation_fraction=0.3).list_samples(root, "all", seed=0)
    assert names(splits.test, 0) == ["video0", "video2"]
    assert names(splits.test, 1) == ["video1", "video3"]
    for role in FITTED:
        samples = getattr(splits, role)
        numbers = [name.removeprefix("real") for name in names(samples, 0)]
        assert [name.removeprefix("fake") for name in names(samples, 1)] == numbers
    assert len(names(splits.validation, 0)) == 2
    assert any("people are not published" in note for note in splits.notes)


def test_without_a_test_some_originals_are_held_out(root):
    shutil.rmtree(root / "test")
    splits = DFDC(test_fraction=0.34).list_samples(root, "all", seed=0)
    assert len(names(splits.test, 0)) == len(names(splits.test, 1)) == 2
    assert "split by seed 0, not official" in splits.notes[0]


def test_unknown_videos_and_labels_are_refused(root):
    table = root / "dfdc_train_part_0" / "metadata.json"
    edit(table, lambda content: content["real0.mp4"].update(label="Real"))
    with pytest.raises(ValueError, match=r"label REAL or FAKE for real0 in .*json, got 'Real'"):
        DFDC().list_samples(root, "all", seed=0)
    edit(table, lambda content: content.pop("real0.mp4"))
    with pytest.raises(ValueError, match=r"an entry for real0 in .*metadata\.json, got none"):
        DFDC().list_samples(root, "all", seed=0)
    table.write_text("[]")
    with pytest.raises(ValueError, match=r"an entry per video in .*, got something else"):
        DFDC().list_samples(root, "all", seed=0)
    table.write_text("{")
    with pytest.raises(ValueError, match=r"expected JSON in .*metadata\.json"):
        DFDC().list_samples(root, "all", seed=0)


def test_test_labels_are_checked(root):
    table = root / "test" / "labels.csv"
    table.write_text(table.read_text().replace("video1.mp4,1", "video1.mp4,FAKE"))
    with pytest.raises(ValueError, match=r"0 or 1 in column label, line 3 of .*labels\.csv"):
        DFDC().list_samples(root, "all", seed=0)


def test_a_root_without_tables_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metadata\.json or labels\.csv in folders of"):
        DFDC().list_samples(tmp_path, "all", seed=0)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ValueError, match=r"run: clad faces "):
        DFDC().list_samples(tmp_path, "all", seed=0)


def test_preview_keeps_people_together(preview):
    splits = DFDCPreview().list_samples(preview, "all", seed=0)
    assert names(splits.test, 0) == ["6_A_001", "7_A_001"]
    assert {s.group for s in splits.test} == {"dfdc_preview/person 6"}
    assert {s.defect_type for s in splits.test} == {"good", "method_A", "method_B"}
    groups = [{s.group for s in getattr(splits, role)} for role in FITTED]
    assert [len(found) for found in groups] == [2, 1]
    assert not groups[0] & groups[1]


def test_preview_refuses_people_in_train_and_test(preview):
    def swap_in_a_tested_person(content):
        name = next(n for n, e in content.items() if e["set"] == "train" and e["label"] == "fake")
        content[name]["swapped_id"] = 6

    edit(preview / "dataset.json", swap_in_a_tested_person)
    with pytest.raises(
        ValueError, match=r"disjoint roles, got 1 group\(s\) in both train and test"
    ):
        DFDCPreview().list_samples(preview, "all", seed=0)


def test_preview_may_test_all_videos(preview):
    source = DFDCPreview(tested="all")
    splits = source.list_samples(preview, "all", seed=0)
    assert not splits.train
    assert not splits.validation
    assert len({s.origin.video for s in splits.test}) == 16
    assert any("all 16 videos are tested (tested: all)" in note for note in splits.notes)
    assert not source.trains_on_anomalies


def test_preview_finds_flat_frames_and_says_what_is_missing(preview):
    shutil.rmtree(preview / "original_videos/0")
    flat = preview / "original_videos/frames/1_A_001"
    shutil.move(preview / "original_videos/1/1_A_001", flat)
    splits = DFDCPreview().list_samples(preview, "all", seed=0)
    videos = {s.origin.video for role in ("train", *FITTED, "test") for s in getattr(splits, role)}
    assert "original_videos/frames/1_A_001" in videos
    assert "dfdc_preview: 1 videos without frames: original_videos/0/0_A_001." in splits.notes
