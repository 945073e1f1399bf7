from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from clad.data.cross import RULE, CrossDataset
from clad.data.datamodule import AnomalyDataModule
from clad.data.folder import Folder
from clad.data.mvtec_ad import MVTecAD
from clad.data.parts import Part
from clad.data.real_fake import RealFake
from clad.data.tiny import save_category
from clad.data.visa import VisA


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cross")
    MVTecAD().write_tiny(folder / "mvtec", seed=1)
    VisA().write_tiny(folder / "visa", seed=2)
    RealFake().write_tiny(folder / "faces", seed=3)
    save_category(folder / "blade", np.random.default_rng(4))
    return folder


def part(name, **options):
    sources = {"mvtec": MVTecAD, "visa": VisA, "faces": RealFake, "blade": Folder}
    return Part(sources[name](), Path(name), **options)


def module_of(root, auxiliary, target, **options):
    source = CrossDataset([part(name) for name in auxiliary], part(target))
    settings = {"image_size": 16, "num_workers": 0, **options}
    return AnomalyDataModule(source, root, **settings)


def test_learns_from_the_test_split_with_masks_and_tests_on_that_of_the_target(root):
    module = module_of(root, ["visa"], "mvtec")
    visa = VisA().list_samples(root / "visa", "all", seed=42)
    mvtec = MVTecAD().list_samples(root / "mvtec", "all", seed=42)
    assert module.splits.train == visa.test
    assert module.splits.test == mvtec.test
    assert module.splits.validation == ()
    (batch,) = module.train_dataloader()
    assert batch.has_mask.all()
    assert batch.masks[batch.labels == 1].flatten(1).any(dim=1).all()
    first, second = module.splits.notes
    assert "trained on the test split of visa, tested on that of mvtec_ad" in first
    assert "6 of 6 anomalous training images have a mask" in first
    assert second == f"cross_dataset: {RULE}."


def test_several_auxiliaries_and_chosen_categories_of_the_target(root):
    module = module_of(root, ["visa", "blade", "faces"], "mvtec", categories=["tile"])
    assert {s.category for s in module.splits.test} == {"tile"}
    assert {s.category for s in module.splits.train} == {"candle", "pcb1", "blade", "face"}
    assert {s.domain for s in module.splits.train} == {"industrial", "face"}
    with pytest.raises(ValueError, match=r"one of metal_nut, tile; got 'candle'"):
        module_of(root, ["visa"], "mvtec", categories=["candle"]).setup()


def test_two_auxiliaries_may_share_a_name_but_not_the_target(root, tmp_path):
    save_category(tmp_path / "blade", np.random.default_rng(7))
    two = [part("blade"), Part(Folder(), tmp_path / "blade")]
    splits = CrossDataset(two, part("mvtec")).list_samples(root, "all", seed=0)
    assert {s.category for s in splits.train} == {"folder_1/blade", "folder_2/blade"}
    save_category(tmp_path / "Metal-Nut", np.random.default_rng(8))
    nut = Part(Folder(), tmp_path / "Metal-Nut", name="mine")
    with pytest.raises(ValueError, match=r"categories of mvtec_ad that mine does not have, got me"):
        CrossDataset([part("blade"), nut], part("mvtec")).list_samples(root, "all", seed=0)


def test_the_same_data_set_or_folder_is_refused(root, tmp_path):
    shutil.copytree(root / "mvtec" / "tile", tmp_path / "only_tile")
    for folder in (root / "mvtec", tmp_path / "only_tile"):
        other = Part(MVTecAD(), folder, name="other")
        with pytest.raises(ValueError, match=r"another data set than mvtec_ad to learn from"):
            CrossDataset([other], part("mvtec")).list_samples(root, "all", seed=0)
    inside = Part(Folder(), Path("mvtec/tile"))
    with pytest.raises(ValueError, match=r"folders of their own for folder and mvtec_ad"):
        CrossDataset([inside], part("mvtec")).list_samples(root, "all", seed=0)


def test_a_copied_image_is_refused_whatever_its_name_and_role(root, tmp_path):
    save_category(tmp_path / "blade", np.random.default_rng(9))
    good = tmp_path / "blade" / "train" / "good" / "copy.png"
    shutil.copy(root / "mvtec" / "tile" / "test" / "good" / "000.png", good)
    made = CrossDataset([Part(Folder(), tmp_path / "blade")], part("mvtec"))
    with pytest.raises(ValueError, match=r"folder and mvtec_ad to share no image, got 1 .*copy\."):
        made.list_samples(root, "all", seed=0)


def test_parts_without_test_images_and_no_part_are_refused(root, tmp_path):
    shutil.copytree(root / "blade" / "train" / "good", tmp_path / "good_only")
    made = CrossDataset([Part(Folder(), tmp_path / "good_only")], part("mvtec"))
    with pytest.raises(ValueError, match=r"expected test images of folder, got none; good_only: "):
        made.list_samples(root, "all", seed=0)
    with pytest.raises(ValueError, match=r"at least one auxiliary data set .* got none"):
        CrossDataset([], part("mvtec")).list_samples(root, "all", seed=0)


def test_anomalies_of_the_target_cannot_be_moved_to_training(root):
    with pytest.raises(ValueError, match=r"got none of metal_nut, tile; leave anomalies_per_type"):
        module_of(root, ["visa"], "mvtec", anomalies_per_type=1).setup()


def test_fingerprint_holds_the_rule_and_one_of_each_side(root):
    made = module_of(root, ["visa"], "mvtec").fingerprint()
    assert made["rule"] == RULE
    assert [(p["name"], p["used_as"]) for p in made["parts"]] == [
        ("visa", "auxiliary"),
        ("mvtec_ad", "target"),
    ]
    visa, mvtec = made["parts"]
    assert visa["counts"]["test"] == mvtec["counts"]["train"] == {}
    assert visa["counts"]["train"]["candle"] == {"normal": 3, "anomalous": 3}
    assert len({visa["sha256"], mvtec["sha256"], made["sha256"]}) == 3
    other = module_of(root, ["blade"], "mvtec").fingerprint()
    assert other["parts"][1] == mvtec
    assert other["sha256"] != made["sha256"]


def test_miniature_of_both_sides(tmp_path):
    source = CrossDataset([part("visa")], part("mvtec"))
    source.write_tiny(tmp_path)
    assert AnomalyDataModule(source, tmp_path).class_names == (
        "candle", "metal_nut", "pcb1", "tile",
    )  # fmt: skip
    assert source.trains_on_anomalies
