from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clad.data.datamodule import AnomalyDataModule
from clad.data.folder import Folder
from clad.data.joined import Joined
from clad.data.mvtec_ad import MVTecAD
from clad.data.parts import Part
from clad.data.real_fake import RealFake
from clad.data.solar_cells import SolarCells
from clad.data.tiny import save_category
from clad.data.visa import VisA


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joined")
    MVTecAD().write_tiny(folder / "mvtec", seed=1)
    RealFake().write_tiny(folder / "faces", seed=2)
    VisA().write_tiny(folder / "visa", seed=3)
    save_category(folder / "tile", np.random.default_rng(4))
    return folder


def parts(*names):
    made = {
        "mvtec": Part(MVTecAD(), Path("mvtec")),
        "faces": Part(RealFake(), Path("faces")),
        "visa": Part(VisA(), Path("visa")),
        "tile": Part(Folder(), Path("tile")),
    }
    return [made[name] for name in names]


def every(splits):
    return (*splits.train, *splits.validation, *splits.test)


def test_union_of_the_splits_with_the_domain_of_each_source(root):
    splits = Joined(parts("mvtec", "faces")).list_samples(root, "all", seed=0)
    alone = MVTecAD().list_samples(root / "mvtec", "all", seed=0)
    faces = RealFake().list_samples(root / "faces", "all", seed=0)
    for role in ("train", "validation", "test"):
        assert getattr(splits, role) == (*getattr(alone, role), *getattr(faces, role))
    assert {s.domain for s in every(splits) if s.category == "face"} == {"face"}
    assert {s.domain for s in every(splits) if s.category != "face"} == {"industrial"}
    assert splits.notes[-1].startswith("joined: mvtec_ad (industrial), real_fake (face); train ")
    assert set(splits.notes) > set(alone.notes) | set(faces.notes)


def test_domain_is_that_of_the_source_even_if_its_samples_do_not_say(root):
    class Silent(VisA):
        domain = "face"

    silent = Part(Silent(), Path("visa"))
    splits = Joined([silent, *parts("tile")]).list_samples(root, "all", seed=0)
    assert {s.category: s.domain for s in every(splits)} == {
        "candle": "face",
        "pcb1": "face",
        "tile": "industrial",
    }


def test_categories_that_two_parts_have_get_the_name_of_the_part(root):
    source = Joined(parts("mvtec", "tile", "visa"))
    names = {s.category for s in every(source.list_samples(root, "all", seed=0))}
    assert names == {"metal_nut", "mvtec_ad/tile", "folder/tile", "candle", "pcb1"}
    chosen = source.list_samples(root, ["folder/tile", "pcb1"], seed=0)
    assert {s.category for s in every(chosen)} == {"folder/tile", "pcb1"}
    named = parts("mvtec", "tile")
    named[1].name = "mine"
    names = {s.category for s in every(Joined(named).list_samples(root, "all", seed=0))}
    assert names == {"metal_nut", "mvtec_ad/tile", "mine/tile"}


def test_parts_of_the_same_source_are_numbered(root, tmp_path):
    save_category(tmp_path / "tile", np.random.default_rng(9))
    two = [Part(Folder(), root / "tile"), Part(Folder(), tmp_path / "tile")]
    names = {s.category for s in every(Joined(two).list_samples(None, "all", seed=0))}
    assert names == {"folder_1/tile", "folder_2/tile"}


def test_groups_of_two_parts_stay_apart(root):
    class Grouped(MVTecAD):
        def list_samples(self, root, categories, seed):
            splits = super().list_samples(root, categories, seed)
            number = {"train": "1", "validation": "2", "test": "3"}
            if root.name == "tiny":
                number = {"train": "3", "validation": "2", "test": "1"}
            return replace(
                splits,
                **{
                    role: tuple(replace(s, group=group) for s in getattr(splits, role))
                    for role, group in number.items()
                },
            )

    other = root / "tiny"
    MVTecAD().write_tiny(other, seed=11)
    source = Joined([Part(Grouped(), Path("mvtec")), Part(Grouped(), Path("tiny"))])
    module = AnomalyDataModule(source, root)
    assert len({s.group for s in every(module.splits)}) == 6
    assert sum(note.startswith("joined") for note in module.splits.notes) == 1


def test_part_categories_are_chosen_before_names_are_made_unique(root):
    made = parts("mvtec", "tile")
    made[0].categories = ["metal_nut"]
    names = {s.category for s in every(Joined(made).list_samples(root, "all", seed=0))}
    assert names == {"metal_nut", "tile"}


def test_overlap_is_refused(root, tmp_path):
    twice = parts("tile") + parts("tile")
    with pytest.raises(ValueError, match=r"folder_1 and folder_2 to share no image, got 17"):
        Joined(twice).list_samples(root, "all", seed=0)
    save_category(tmp_path / "blade", np.random.default_rng(9))
    copied = tmp_path / "blade" / "test" / "good" / "zzz.png"
    shutil.copy(root / "tile" / "train" / "good" / "000.png", copied)
    made = [*parts("tile"), Part(Folder(), tmp_path / "blade", name="blades")]
    with pytest.raises(ValueError, match=r"folder and blades to share no image, got 1 .*zzz"):
        Joined(made).list_samples(root, "all", seed=0)


def test_wrong_parts_are_refused(root):
    with pytest.raises(ValueError, match="at least one data set, got none"):
        Joined([]).list_samples(root, "all", seed=0)
    with pytest.raises(ValueError, match=r"one data set per part, got Joined for joined"):
        Joined([Part(Joined(parts("tile")))]).list_samples(root, "all", seed=0)
    with pytest.raises(FileNotFoundError, match=r"expected a folder for visa, got none; set its"):
        Joined([Part(VisA())]).list_samples(None, "all", seed=0)
    with pytest.raises(FileNotFoundError, match=r"root of visa to be a folder, found nothing at"):
        Joined([Part(VisA(), Path("absent"))]).list_samples(root, "all", seed=0)


def test_part_without_a_root_lies_in_the_root_of_all(root, tmp_path):
    SolarCells().write_tiny(tmp_path)
    both = [Part(RealFake()), Part(SolarCells(), tmp_path)]
    splits = Joined(both).list_samples(root / "faces", "all", seed=0)
    assert {s.category for s in every(splits)} == {"face", "mono", "poly"}


def test_miniatures_go_to_relative_roots_only(tmp_path):
    Joined([*parts("tile", "faces"), Part(SolarCells())]).write_tiny(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces", "tile"]
    with pytest.raises(ValueError, match=r"root of folder to be seen from data\.root, got /"):
        Joined([Part(Folder(), tmp_path / "x")]).write_tiny(tmp_path)


def test_fingerprint_has_one_of_each_part_and_does_not_depend_on_the_place(root, tmp_path):
    source = Joined(parts("mvtec", "faces"))
    made = AnomalyDataModule(source, root).fingerprint()
    assert [part["name"] for part in made["parts"]] == ["mvtec_ad", "real_fake"]
    alone = AnomalyDataModule(MVTecAD(), root / "mvtec").fingerprint()
    assert {**made["parts"][0], "name": None} == {**alone, "name": None}
    assert made["counts"]["test"]["face"] == {"normal": 4, "anomalous": 4}
    shutil.copytree(root, tmp_path / "elsewhere")
    moved = AnomalyDataModule(source, tmp_path / "elsewhere").fingerprint()
    assert moved["sha256"] == made["sha256"]
    few = AnomalyDataModule(source, root, shots=2).fingerprint()
    assert few["sha256"] != made["sha256"]


def test_training_batches_are_balanced_by_domain(root):
    module = AnomalyDataModule(
        Joined(parts("mvtec", "visa", "faces")),
        root,
        image_size=16,
        num_workers=0,
        train_batch_size=8,
        balance_domains=True,
    )
    domains = Counter(d for batch in module.train_dataloader() for d in batch.domains)
    assert abs(domains["face"] - domains["industrial"]) <= 1
    by_domain = Counter(s.domain for s in module.splits.train)
    assert by_domain["industrial"] > 1.5 * by_domain["face"]
