from __future__ import annotations

import numpy as np
import pytest
import torch

from clad.data.base import DataSource
from clad.data.datamodule import AnomalyDataModule
from clad.data.folder import Folder
from clad.data.loading import choose_num_workers
from clad.data.mvtec_ad import MVTecAD
from clad.data.tiny import normal_texture, save
from clad.samples import Sample, Splits
from clad.synthesis.base import Synthesizer


class Square(Synthesizer):
    def __call__(self, image, rng):
        mask = np.zeros(image.shape[:2], dtype=bool)
        top, left = rng.integers(0, 20, 2)
        mask[top : top + 8, left : left + 8] = True
        return np.where(mask[:, :, None], np.uint8(255), image), mask


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    MVTecAD().write_tiny(folder)
    return folder


def make(root, **options):
    settings = {"image_size": 32, "train_batch_size": 4, "test_batch_size": 5, "num_workers": 0}
    return AnomalyDataModule(MVTecAD(validation_fraction=0.25), root, **{**settings, **options})


def paths(loader):
    return [path for batch in loader for path in batch.paths]


def test_training_order_is_new_each_epoch_and_repeatable(root):
    loader = make(root).train_dataloader()
    first, second = paths(loader), paths(loader)
    assert first != second
    assert sorted(first) == sorted(second)
    again = make(root).train_dataloader()
    assert [paths(again), paths(again)] == [first, second]
    assert paths(make(root, seed=1).train_dataloader()) != first


def test_a_split_seed_keeps_the_splits_while_the_seed_changes_the_order(root):
    plain, other = make(root), make(root, seed=1, split_seed=42)
    assert other.splits == plain.splits
    assert paths(other.train_dataloader()) != paths(plain.train_dataloader())
    assert make(root, split_seed=1).splits == make(root, seed=1).splits != plain.splits


def test_training_epoch_comes_from_the_trainer(root):
    class Trainer:
        current_epoch = 0

    module = make(root)
    module.trainer = Trainer()
    loader = module.train_dataloader()
    first = paths(loader)
    assert paths(loader) == first
    module.trainer.current_epoch = 1
    assert paths(loader) != first


def test_persistent_workers_see_the_epoch(root):
    options = {"synthesis": Square(), "synthesis_probability": 0.5}
    with_workers = make(root, num_workers=2, **options).train_dataloader()
    without = make(root, **options).train_dataloader()
    assert with_workers.persistent_workers
    for _ in range(2):
        for ours, theirs in zip(with_workers, without, strict=True):
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.masks, theirs.masks)
            assert ours.defect_types == theirs.defect_types


def test_reference_loader_is_normal_training_images_as_stored(root):
    options = {"synthesis": Square(), "synthesis_probability": 1.0, "augmentation": ("brightness",)}
    module = make(root, **options)
    batches = list(module.reference_dataloader())
    assert [p for b in batches for p in b.paths] == [str(s.image_path) for s in module.splits.train]
    assert not any(b.labels.any() for b in batches)
    plain = list(make(root).reference_dataloader())
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches, plain, strict=True))
    assert all(b.labels.all() for b in module.train_dataloader())


def test_reference_loader_leaves_labelled_anomalies_out(tmp_path):
    for i in range(6):
        save(normal_texture(np.random.default_rng(i)), tmp_path / f"train/good/{i}.png")
    save(normal_texture(np.random.default_rng(9)), tmp_path / "train/cut/0.png")
    module = AnomalyDataModule(Folder(), tmp_path, image_size=16, num_workers=0)
    assert sum(b.labels.sum().item() for b in module.train_dataloader()) == 1
    assert sum(b.labels.sum().item() for b in module.reference_dataloader()) == 0


def test_synthetic_validation_pairs_each_normal_with_one_fixed_copy(root):
    module = make(root, synthesis=Square(), synthesis_probability=0.0)
    items = list(module.synthetic_validation_dataloader())
    labels = torch.cat([b.labels for b in items])
    names = [p for b in items for p in b.paths]
    count = len(module.splits.validation)
    assert labels.tolist() == [0] * count + [1] * count
    assert names[:count] == names[count:] == [str(s.image_path) for s in module.splits.validation]
    masks = torch.cat([b.masks for b in items])
    assert masks.flatten(1).sum(1).tolist() == [0] * count + [64] * count
    again = torch.cat([b.masks for b in module.synthetic_validation_dataloader()])
    assert torch.equal(masks, again)


def test_synthetic_validation_without_generator_is_refused(root):
    with pytest.raises(ValueError, match=r"expected data\.synthesis for synthetic validation"):
        make(root).synthetic_validation_dataloader()


def test_validation_and_test_are_as_stored_and_predict_is_test(root):
    module = make(root, synthesis=Square(), synthesis_probability=1.0)
    assert not any(b.labels.any() for b in module.val_dataloader())
    assert paths(module.test_dataloader()) == [str(s.image_path) for s in module.splits.test]
    assert paths(module.predict_dataloader()) == paths(module.test_dataloader())
    assert module.class_names == ("metal_nut", "tile")


def test_image_size_is_height_width(root):
    batch = next(iter(make(root, image_size=(24, 40)).test_dataloader()))
    assert batch.images.shape[1:] == (3, 24, 40)
    assert batch.masks.shape[1:] == (24, 40)


def test_cache_folder_is_filled_and_read(root, tmp_path):
    plain = [b.images for b in make(root).test_dataloader()]
    for _ in range(2):
        cached = [b.images for b in make(root, cache_dir=tmp_path / "c").test_dataloader()]
        assert all(torch.equal(a, b) for a, b in zip(plain, cached, strict=True))
    assert len(list((tmp_path / "c").rglob("*.pixels"))) == 18 + 12


class Fixed(DataSource):
    """Whatever splits a test wants."""

    name = "fixed"

    def __init__(self, splits):
        self.splits = splits

    def list_samples(self, root, categories, seed):
        return self.splits

    def write_tiny(self, root, seed=0):
        raise NotImplementedError


def test_empty_data_and_empty_roles_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected images in .*, found none for fixed"):
        AnomalyDataModule(Fixed(Splits()), tmp_path).setup()
    sample = Sample(tmp_path / "a.png", 1, "nut", "cut")
    module = AnomalyDataModule(Fixed(Splits(train=(sample,), notes=("A note.",))), tmp_path)
    with pytest.raises(ValueError, match=r"expected test images, got none from fixed.*A note\."):
        module.test_dataloader()
    with pytest.raises(ValueError, match=r"expected normal training images, got none"):
        module.reference_dataloader()


def test_shared_file_between_roles_is_refused(tmp_path):
    sample = Sample(tmp_path / "a.png", 0, "nut")
    with pytest.raises(ValueError, match=r"1 file\(s\) in both train and test"):
        AnomalyDataModule(Fixed(Splits(train=(sample,), test=(sample,))), tmp_path).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, r"image_size to be a side or \(height, width\) of at least 1, got 0"),
        ({"train_batch_size": 0}, r"train_batch_size in \[1, inf\], got 0"),
        ({"synthesis_probability": 2}, r"synthesis_probability in \[0, 1\], got 2"),
        ({"seed": -1}, r"seed in \[0, inf\], got -1"),
    ],
)
def test_wrong_arguments_are_refused(root, options, message):
    with pytest.raises(ValueError, match=message):
        make(root, **options)


def test_few_images_need_no_workers(root):
    module = make(root, num_workers=None)
    assert module.test_dataloader().num_workers == 0
    assert 1 <= choose_num_workers(None, 10_000) <= 8
