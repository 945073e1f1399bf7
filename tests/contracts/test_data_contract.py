"""Every data set of configs/data keeps the contract, a newcomer's without a line here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from clad.data.base import DataSource
from clad.data.datamodule import AnomalyDataModule
from clad.data.images import decode_image, decode_mask
from clad.synthesis.base import Synthesizer

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))
SIZE = (24, 40)
ROLES = ("train", "validation", "test")


class Square(Synthesizer):
    """A white square at a random place."""

    def __call__(self, image, rng):
        mask = np.zeros(image.shape[:2], dtype=bool)
        top, left = rng.integers(0, 12, 2)
        mask[top : top + 8, left : left + 8] = True
        return np.where(mask[:, :, None], np.uint8(255), image), mask


def build(path: Path) -> DataSource:
    """The source of a YAML, built as the command line does, every key checked."""
    content = yaml.safe_load(path.read_text())
    assert set(content) == {"data"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AnomalyDataModule, "data")
    return parser.instantiate_classes(parser.parse_object(content)).data.source


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def written(request, tmp_path_factory):
    source = build(request.param)
    root = tmp_path_factory.mktemp(request.param.stem) / "tiny"
    source.write_tiny(root, seed=0)
    return source, root


def module_of(written, **options) -> AnomalyDataModule:
    source, root = written
    settings = {"image_size": SIZE, "train_batch_size": 4, "test_batch_size": 4, "num_workers": 0}
    return AnomalyDataModule(source, root, **{**settings, **options})


def roles(module):
    return {role: getattr(module.splits, role) for role in ROLES}


def test_configs_are_found():
    assert CONFIGS


def test_name_and_domain_are_words(written):
    source, _ = written
    assert source.name.isidentifier()
    assert source.domain in ("industrial", "face")


def test_samples_are_sound(written):
    source, root = written
    by_role = roles(module_of(written))
    assert all(by_role.values()), {role: len(samples) for role, samples in by_role.items()}
    assert {s.label for s in by_role["test"]} == ({0, 1} if source.has_anomalies else {0})
    for samples in by_role.values():
        for sample in samples:
            assert sample.image_path.is_file()
            assert sample.image_path.is_relative_to(root)
            assert (sample.label == 0) == (sample.defect_type == "good")
            assert sample.label == 1 or sample.mask_path is None
    assert any(s.label == 0 for s in by_role["validation"])
    assert module_of(written).splits.notes


def test_train_and_validation_are_normal_unless_asked_otherwise(written):
    by_role = roles(module_of(written))
    labels = {s.label for role in ("train", "validation") for s in by_role[role]}
    assert (1 in labels) == written[0].trains_on_anomalies


def test_domain_of_every_sample_is_that_of_its_source(written):
    source, _ = written
    domains = {s.domain for samples in roles(module_of(written)).values() for s in samples}
    assert domains <= {"industrial", "face"}
    assert source.is_composed or domains == {source.domain}


def test_roles_share_no_file_and_no_group(written):
    by_role = roles(module_of(written))
    files = [s.image_path.resolve() for samples in by_role.values() for s in samples]
    assert len(files) == len(set(files))
    groups = [{s.group for s in samples} - {None} for samples in by_role.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_masks_fit_their_images_and_are_not_empty(written):
    for samples in roles(module_of(written)).values():
        for sample in samples:
            if sample.mask_path is not None:
                mask = decode_mask(sample.mask_path)
                assert mask.shape == decode_image(sample.image_path).shape[:2]
                assert mask.any()
                assert not mask.all()


def test_order_is_stable_and_follows_the_seed_only(written):
    source, root = written
    first = source.list_samples(root, "all", seed=1)
    assert first == source.list_samples(root, "all", seed=1)
    assert len(source.list_samples(root, "all", seed=2).train) == len(first.train)


def test_a_category_may_be_chosen_and_an_unknown_one_is_refused(written):
    source, root = written
    name = module_of(written).class_names[-1]
    chosen = module_of(written, categories=[name])
    assert chosen.class_names == (name,)
    everything = roles(module_of(written))
    for role, samples in roles(chosen).items():
        assert list(samples) == [s for s in everything[role] if s.category == name]
    with pytest.raises(ValueError, match=r"one of .*; got 'no_such_thing'"):
        source.list_samples(root, ["no_such_thing"], seed=0)


def test_missing_root_is_refused(written, tmp_path):
    source, _ = written
    with pytest.raises(FileNotFoundError, match=r"data\.root to be a folder, found nothing at"):
        source.list_samples(tmp_path / "absent", "all", seed=0)
    if source.needs_root:
        with pytest.raises(FileNotFoundError, match=r"data\.root to be a folder, got none"):
            source.list_samples(None, "all", seed=0)


def test_tiny_is_small_and_the_same_for_the_same_seed(written, tmp_path):
    source, root = written
    source.write_tiny(tmp_path / "again", seed=0)
    source.write_tiny(tmp_path / "other", seed=1)

    def contents(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert contents(root) == contents(tmp_path / "again")
    assert contents(root).keys() == contents(tmp_path / "other").keys()
    assert contents(root) != contents(tmp_path / "other")
    assert sum(map(len, contents(root).values())) < 1_000_000


def test_batches_have_the_types_and_shapes_of_the_contract(written):
    module = module_of(written)
    loaders = {
        "train": module.train_dataloader(),
        "validation": module.val_dataloader(),
        "test": module.test_dataloader(),
    }
    for role, loader in loaders.items():
        batches = list(loader)
        size = len(getattr(module.splits, role))
        assert sum(map(len, batches)) == size - (role == "train" and size % 4 == 1)
        for batch in batches:
            size = len(batch)
            assert batch.images.shape == (size, 3, *SIZE)
            assert batch.images.dtype == torch.uint8
            assert batch.masks.shape == (size, *SIZE)
            assert batch.masks.dtype == batch.has_mask.dtype == torch.bool
            assert batch.labels.dtype == torch.int64
            assert len(batch.categories) == len(batch.defect_types) == size
            assert batch.has_mask[batch.labels == 0].all()
            assert not batch.masks[(batch.labels == 0) | ~batch.has_mask].any()


def test_training_batches_do_not_depend_on_the_number_of_workers(written):
    options = {"synthesis": Square(), "augmentation": ("horizontal_flip", "brightness")}
    alone = list(module_of(written, **options).train_dataloader())
    shared = list(module_of(written, num_workers=2, **options).train_dataloader())
    assert len(alone) == len(shared)
    for ours, theirs in zip(alone, shared, strict=True):
        for name in ("images", "labels", "masks", "has_mask"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
        assert (ours.paths, ours.defect_types) == (theirs.paths, theirs.defect_types)
    made = torch.cat([batch.labels for batch in alone])
    assert 0 < made.sum() < len(made)


def test_fingerprint_is_stable(written):
    made = module_of(written).fingerprint()
    assert made == module_of(written).fingerprint()
    assert made["source"] == written[0].name
    assert set(made["counts"]) == set(ROLES)
