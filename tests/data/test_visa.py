from __future__ import annotations

import pytest

from clad.data.visa import VisA


@pytest.fixture
def root(tmp_path):
    VisA().write_tiny(tmp_path)
    return tmp_path


def rewrite(root, old, new):
    table = root / "split_csv/1cls.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))


def test_table_is_read_in_place(root):
    before = sorted(root.rglob("*"))
    splits = VisA(validation_fraction=0.25).list_samples(root, "all", seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (12, 4, 12)
    assert sorted(root.rglob("*")) == before
    anomalous = [s for s in splits.test if s.label == 1]
    assert [s.image_path.name for s in anomalous] == ["000.JPG", "001.JPG", "002.JPG"] * 2
    assert anomalous[4].mask_path == root / "pcb1/Data/Masks/Anomaly/001.png"
    assert {s.defect_type for s in anomalous} == {"anomaly"}
    assert all(s.mask_path is None for s in splits.test if s.label == 0)


def test_categories_may_be_chosen_and_unknown_ones_are_refused(root):
    splits = VisA().list_samples(root, ["pcb1"], seed=0)
    assert {s.category for s in (*splits.train, *splits.test)} == {"pcb1"}
    with pytest.raises(ValueError, match=r"one of candle, pcb1; got 'bottle'"):
        VisA().list_samples(root, ["bottle"], seed=0)


@pytest.mark.parametrize("bad", ["../secret.JPG", "/etc/secret.JPG", "a/../../b.JPG", "a\\b.JPG"])
def test_paths_that_leave_the_root_are_refused(root, bad):
    rewrite(root, "candle/Data/Images/Normal/0003.JPG", bad)
    with pytest.raises(ValueError, match=r"a path inside .* in line 5 of .*1cls\.csv"):
        VisA().list_samples(root, "all", seed=0)


def test_anomaly_without_mask_and_unknown_words_are_refused(root):
    rewrite(root, "candle/Data/Masks/Anomaly/000.png", "")
    with pytest.raises(ValueError, match=r"a path inside .*got '' in line 13"):
        VisA().list_samples(root, "all", seed=0)
    rewrite(root, "candle,train,normal", "candle,train,fine")
    with pytest.raises(
        ValueError, match=r"label normal or anomaly, got 'train' and 'fine' in line 2"
    ):
        VisA().list_samples(root, "all", seed=0)
    rewrite(root, "object,split", "object,set")
    with pytest.raises(ValueError, match=r"columns object, split, label, image, mask in"):
        VisA().list_samples(root, "all", seed=0)


def test_missing_files_come_in_one_message(root):
    (root / "candle/Data/Images/Normal/0001.JPG").unlink()
    (root / "pcb1/Data/Masks/Anomaly/002.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"nothing for 2: candle/.*0001\.JPG, pcb1/Data/Masks/Anomaly/002"
    ):
        VisA().list_samples(root, "all", seed=0)
    with pytest.raises(FileNotFoundError, match=r"the table .*1cls\.csv, found none"):
        VisA().list_samples(root / "candle", "all", seed=0)
