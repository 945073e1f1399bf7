from __future__ import annotations

import pytest

from clad.data import owner_counts
from clad.data.mvtec_ad import MVTecAD
from clad.data.owner_counts import Counts


@pytest.fixture
def root(tmp_path):
    MVTecAD().write_tiny(tmp_path)
    return tmp_path


def test_layout_is_read_with_masks_by_stem(root):
    splits = MVTecAD(validation_fraction=0.25).list_samples(root, "all", seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (12, 4, 18)
    assert {s.category for s in splits.test} == {"metal_nut", "tile"}
    for sample in splits.test:
        folder = sample.image_path.parent.name
        assert sample.defect_type == folder
        assert sample.label == int(folder != "good")
        if sample.label:
            expected = f"ground_truth/{folder}/{sample.image_path.stem}_mask.png"
            assert sample.mask_path == root / sample.category / expected


def test_root_may_be_one_category_and_categories_may_be_chosen(root):
    alone = MVTecAD().list_samples(root / "tile", "all", seed=0)
    chosen = MVTecAD().list_samples(root, ["tile"], seed=0)
    assert {s.category for s in alone.train} == {"tile"}
    assert [s.image_path for s in alone.train] == [s.image_path for s in chosen.train]


def test_mask_without_suffix_is_paired_too(root):
    folder = root / "tile/ground_truth/dark_spot"
    (folder / "000_mask.png").rename(folder / "000.png")
    test = MVTecAD().list_samples(root / "tile", "all", seed=0).test
    assert next(s.mask_path for s in test if s.defect_type == "dark_spot") == folder / "000.png"


def test_two_masks_of_one_image_are_refused(root):
    folder = root / "tile/ground_truth/dark_spot"
    (folder / "000.png").write_bytes((folder / "000_mask.png").read_bytes())
    with pytest.raises(ValueError, match=r"one mask per image, got .*000\.png and .*000_mask\.png"):
        MVTecAD().list_samples(root, "all", seed=0)


def test_missing_masks_come_in_one_message_or_a_note(root):
    folder = root / "tile/ground_truth/dark_spot"
    (folder / "000_mask.png").unlink()
    (folder / "002_mask.png").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"none for 2: ground_truth/dark_spot/000_mask\.png, ground_truth/dark_spot/002_mask",
    ):
        MVTecAD().list_samples(root, "all", seed=0)
    splits = MVTecAD(masks_required=False).list_samples(root, "all", seed=0)
    assert sum(s.label == 1 and s.mask_path is None for s in splits.test) == 2
    assert "2 anomalous images have no mask; pixel metrics leave them out." in splits.notes


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("absent", FileNotFoundError, r"data\.root to be a folder, found nothing at .*absent"),
        ("tile/train", FileNotFoundError, r"folders with train/ and test/ in .*, found good"),
    ],
)
def test_wrong_root_is_named(root, path, error, message):
    with pytest.raises(error, match=message):
        MVTecAD().list_samples(root / path, "all", seed=0)


def test_no_root_empty_and_unknown_category_are_refused(root):
    with pytest.raises(FileNotFoundError, match=r"data\.root to be a folder, got none; set data"):
        MVTecAD().list_samples(None, "all", seed=0)
    with pytest.raises(ValueError, match=r"category to be one of metal_nut, tile; got 'bottle'"):
        MVTecAD().list_samples(root, ["bottle"], seed=0)
    for image in (root / "tile/train/good").iterdir():
        image.unlink()
    with pytest.raises(ValueError, match=r"expected images in .*tile/train/good, found none"):
        MVTecAD().list_samples(root, "all", seed=0)


def test_hidden_files_and_others_are_ignored(root):
    (root / "tile/train/good/.hidden.png").write_bytes(b"")
    (root / "tile/train/good/Thumbs.db").write_bytes(b"")
    (root / "license.txt").write_text("text")
    assert len(MVTecAD(0).list_samples(root / "tile", "all", seed=0).train) == 8


def test_reduced_copy_of_a_known_category_gets_a_note(root):
    notes = MVTecAD().list_samples(root, "all", seed=0).notes
    assert any("tile has 8/3/6 instead of 230/33/84" in note for note in notes)
    (root / "tile").rename(root / "my_part")
    notes = MVTecAD().list_samples(root, ["my_part"], seed=0).notes
    assert len(notes) == 1


def test_owner_tables_add_up_to_the_published_totals():
    def total(table):
        return tuple(map(sum, zip(*table.values(), strict=True)))

    assert len(owner_counts.MVTEC_AD) == 15
    assert total(owner_counts.MVTEC_AD) == (3629, 467, 1258)
    assert len(owner_counts.VISA) == 12
    assert total(owner_counts.VISA) == (8659, 962, 1200)
    assert sum(total(owner_counts.VISA)) == 10821
    assert (
        owner_counts.incomplete_note({"tile": Counts(230, 33, 84)}, owner_counts.MVTEC_AD) is None
    )
