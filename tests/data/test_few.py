from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from clad.data.datamodule import AnomalyDataModule
from clad.data.few import Few
from clad.data.mvtec_ad import MVTecAD
from clad.data.splits import check_disjoint
from clad.samples import Sample, Splits


def normals(count, role, category="nut"):
    return tuple(Sample(Path(f"{category}/{role}/{i}.png"), 0, category) for i in range(count))


def defects(count, defect, category="nut"):
    return tuple(
        Sample(
            Path(f"{category}/test/{defect}/{i}.png"),
            1,
            category,
            defect,
            Path(f"{category}/masks/{defect}/{i}.png"),
        )
        for i in range(count)
    )


SPLITS = Splits(
    train=normals(20, "train") + normals(12, "train", "tile"),
    validation=normals(4, "validation"),
    test=(
        *normals(5, "test"),
        *defects(30, "cut"),
        *defects(25, "bent"),
        *normals(3, "test", "tile"),
        *defects(22, "cut", "tile"),
    ),
    notes=("As stored.",),
)


def test_nothing_asked_for_changes_nothing():
    assert Few().apply(SPLITS, seed=0) is SPLITS


def test_shots_keep_that_many_of_each_category_and_no_validation():
    made = Few(shots=4).apply(SPLITS, seed=1)
    assert Counter(s.category for s in made.train) == {"nut": 4, "tile": 4}
    assert list(made.train) == [s for s in SPLITS.train if s in set(made.train)], "order changed"
    assert made.validation == ()
    assert made.test == SPLITS.test
    assert made.notes[0] == "As stored."
    assert "4 normal training images per category, chosen by seed 1" in made.notes[1]
    assert "4 validation images are left out" in made.notes[1]


def test_shots_are_nested_and_depend_on_seed_but_not_on_other_categories():
    one, two, four = (set(Few(shots=k).apply(SPLITS, seed=0).train) for k in (1, 2, 4))
    assert one < two < four
    assert four != set(Few(shots=4).apply(SPLITS, seed=1).train)
    alone = replace(SPLITS, train=normals(12, "train", "tile"))
    assert set(Few(shots=4).apply(alone, seed=0).train) == {s for s in four if s.category == "tile"}


def test_shots_keep_labelled_anomalies():
    splits = replace(SPLITS, train=(*SPLITS.train, *defects(3, "rust")))
    made = Few(shots=2).apply(splits, seed=0)
    assert sum(s.label for s in made.train) == 3
    assert sum(s.label == 0 for s in made.train) == 4


@pytest.mark.parametrize("used", [0, 1, 5, 10, 20])
def test_anomalies_move_with_their_masks_and_the_test_is_the_same_for_all(used):
    made = Few(anomalies_per_type=used, reserved_per_type=20).apply(SPLITS, seed=3)
    moved = [s for s in made.train if s.label == 1]
    kinds = {("nut", "cut"), ("nut", "bent"), ("tile", "cut")}
    assert Counter((s.category, s.defect_type) for s in moved) == (
        dict.fromkeys(kinds, used) if used else {}
    )
    assert all(s.mask_path is not None for s in moved)
    assert set(moved) <= set(SPLITS.test)
    check_disjoint(made)
    reference = Few(anomalies_per_type=20).apply(SPLITS, seed=3)
    assert made.test == reference.test
    counts = Counter((s.category, s.defect_type) for s in made.test)
    assert counts == {
        ("nut", "good"): 5,
        ("nut", "cut"): 10,
        ("nut", "bent"): 5,
        ("tile", "good"): 3,
        ("tile", "cut"): 2,
    }
    assert made.validation == SPLITS.validation
    assert f"{3 * used} test anomalies ({used} of each of 3 defect types)" in made.notes[-1]
    assert "60 test images reserved" in made.notes[-1]


def test_anomalies_are_nested_and_depend_on_the_seed():
    def moved(used, seed=0):
        made = Few(anomalies_per_type=used, reserved_per_type=20).apply(SPLITS, seed)
        return {s for s in made.train if s.label}

    assert moved(1) < moved(5) < moved(10) < moved(20)
    assert moved(5) != moved(5, seed=1)
    assert moved(5) == moved(5)


def test_same_defect_name_in_two_categories_is_drawn_separately():
    splits = replace(SPLITS, test=defects(30, "cut") + defects(30, "cut", "tile"))
    made = Few(anomalies_per_type=5).apply(splits, seed=0)
    chosen = {
        name: {s.image_path.stem for s in made.train if s.label and s.category == name}
        for name in ("nut", "tile")
    }
    assert chosen["nut"] != chosen["tile"]


def test_a_group_leaves_the_test_as_a_whole_and_counts_as_one():
    frames = [
        Sample(Path(f"{v}/{i}.png"), int(i > 0), "face", "swap" if i else "good", group=f"v{v}")
        for v in range(4)
        for i in range(3)
    ]
    splits = Splits(train=normals(2, "train", "face"), test=tuple(frames))
    made = Few(anomalies_per_type=1, reserved_per_type=2).apply(splits, seed=0)
    check_disjoint(made)
    assert len(made.test) == 6
    moved = [s for s in made.train if s.label]
    assert len(moved) == 2
    assert len({s.group for s in moved}) == 1
    assert sum(s.label == 0 for s in made.train) == 2, "test normals are never trained on"


@pytest.mark.parametrize(
    ("few", "message"),
    [
        (
            Few(anomalies_per_type=22),
            r"more than reserved_per_type = 22 test anomalies of type cut of tile.*got 22; reserve",
        ),
        (Few(reserved_per_type=25), r"type bent of nut, so that some are left for test, got 25"),
        (Few(shots=13), r"at least shots = 13 normal training images of tile, got 12"),
    ],
)
def test_too_few_images_are_refused(few, message):
    with pytest.raises(ValueError, match=message):
        few.apply(SPLITS, seed=0)


def test_anomalies_of_untrained_or_absent_categories_are_refused():
    few = Few(anomalies_per_type=1)
    with pytest.raises(ValueError, match=r"training images of every category .* none of tile;"):
        few.apply(replace(SPLITS, train=normals(20, "train")), seed=0)
    with pytest.raises(ValueError, match=r"expected test anomalies to move to train, got none"):
        few.apply(replace(SPLITS, test=normals(5, "test")), seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, r"shots in \[1, inf\], got 0"),
        ({"anomalies_per_type": -1}, r"anomalies_per_type in \[0, inf\], got -1"),
        (
            {"anomalies_per_type": 5, "reserved_per_type": 4},
            r"reserved_per_type of at least anomalies_per_type = 5, got 4",
        ),
    ],
)
def test_wrong_numbers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Few(**options)


def test_data_module_applies_both_and_the_fingerprint_differs(tmp_path):
    MVTecAD().write_tiny(tmp_path)

    def make(**options):
        settings = {"image_size": 32, "num_workers": 0, "train_batch_size": 8, **options}
        return AnomalyDataModule(MVTecAD(), tmp_path, **settings)

    module = make(shots=2, anomalies_per_type=1, reserved_per_type=2)
    (batch,) = module.train_dataloader()
    assert sorted(batch.labels.tolist()) == [0] * 4 + [1] * 4
    is_defect = batch.labels == 1
    assert batch.has_mask.all()
    assert batch.masks[is_defect].flatten(1).any(dim=1).all()
    assert not module.splits.validation
    prints = [make(**o).fingerprint()["sha256"] for o in ({}, {"shots": 2}, {"shots": 3})]
    assert len({*prints, module.fingerprint()["sha256"]}) == 4
