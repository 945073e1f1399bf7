from __future__ import annotations

import numpy as np
import pytest
import torch

from clad.data.augment import augment
from clad.data.cache import PixelCache
from clad.data.dataset import EpochSampler, SampleDataset, collate, synthesise
from clad.data.tiny import defective_texture, normal_texture, save
from clad.samples import Sample
from clad.synthesis.base import Synthesizer


class Square(Synthesizer):
    """A white square at a random place."""

    def __call__(self, image, rng):
        mask = np.zeros(image.shape[:2], dtype=bool)
        top, left = rng.integers(0, 20, 2)
        mask[top : top + 8, left : left + 8] = True
        return np.where(mask[:, :, None], np.uint8(255), image), mask


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    listed = []
    for i in range(6):
        save(normal_texture(rng), tmp_path / f"good{i}.png")
        listed.append(Sample(tmp_path / f"good{i}.png", 0, "nut"))
    image, mask = defective_texture(rng)
    save(image, tmp_path / "cut.png")
    save(mask, tmp_path / "cut_mask.png")
    listed.append(Sample(tmp_path / "cut.png", 1, "nut", "cut", tmp_path / "cut_mask.png"))
    listed.append(Sample(tmp_path / "cut.png", 1, "nut", "cut"))
    return listed


def test_items_carry_truth_as_stored(samples):
    batch = collate([SampleDataset(samples, (32, 48))[i] for i in range(len(samples))])
    assert batch.images.shape == (8, 3, 32, 48)
    assert batch.images.dtype == torch.uint8
    assert batch.masks.shape == (8, 32, 48)
    assert batch.masks.dtype == torch.bool
    assert batch.labels.tolist() == [0] * 6 + [1, 1]
    assert batch.labels.dtype == torch.int64
    assert batch.has_mask.tolist() == [True] * 7 + [False]
    assert batch.masks.flatten(1).any(1).tolist() == [False] * 6 + [True, False]
    assert batch.defect_types == ("good",) * 6 + ("cut", "cut")
    assert batch.categories == ("nut",) * 8
    assert batch.paths[0] == str(samples[0].image_path)


def test_images_and_masks_stay_aligned(samples):
    item = SampleDataset(samples, (64, 64))[6]
    dark = item.image.max(axis=2) < 45
    np.testing.assert_array_equal(dark, item.mask)


def test_synthesis_replaces_normals_only_with_exact_masks(samples):
    plain = SampleDataset(samples, (40, 40))
    made = SampleDataset(samples, (40, 40), synthesis=Square(), synthesis_probability=1.0)
    for i in range(6):
        item = made[i]
        assert (item.label, item.defect_type, item.has_mask) == (1, "synthetic", True)
        assert item.mask.sum() == 64
        np.testing.assert_array_equal(item.image[~item.mask], plain[i].image[~item.mask])
        assert (item.image[item.mask] == 255).all()
    assert made[6].defect_type == "cut"
    np.testing.assert_array_equal(made[6].image, plain[6].image)


def test_synthesis_follows_seed_stream_epoch_and_index(samples):
    def masks(**options):
        return SampleDataset(
            samples[:1], (40, 40), synthesis=Square(), synthesis_probability=1.0, **options
        )

    first = masks(seed=1)[0, 0].mask
    np.testing.assert_array_equal(first, masks(seed=1)[0, 0].mask)
    np.testing.assert_array_equal(first, masks(seed=1)[0].mask)
    others = [masks(seed=2)[0, 0], masks(seed=1, stream=1)[0, 0], masks(seed=1)[1, 0]]
    assert all((first != other.mask).any() for other in others)


def test_synthesis_share_is_the_probability(samples):
    dataset = SampleDataset(samples[:6], (8, 8), synthesis=Square(), synthesis_probability=0.3)
    dataset.synthesis = TopRow()
    labels = [dataset[epoch, i].label for epoch in range(60) for i in range(6)]
    assert abs(np.mean(labels) - 0.3) < 0.08  # 360 draws: 3.3 standard deviations


class TopRow(Synthesizer):
    def __call__(self, image, rng):
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[0] = True
        return image.copy(), mask


class Writer(Synthesizer):
    def __call__(self, image, rng):
        image[0] = 0
        return image, np.ones(image.shape[:2], dtype=bool)


class Empty(Synthesizer):
    def __call__(self, image, rng):
        return image, np.zeros(image.shape[:2], dtype=bool)


def test_generators_are_held_to_their_contract():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        synthesise(Writer(), image, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"expected Empty to give .* with 0 pixels"):
        synthesise(Empty(), image, np.random.default_rng(0))


def test_cache_gives_the_same_items_and_is_read(samples, tmp_path, monkeypatch):
    plain = SampleDataset(samples, (40, 24))
    cached = SampleDataset(samples, (40, 24), cache=PixelCache(tmp_path / "cache"))
    for _ in range(2):
        for i in range(len(samples)):
            np.testing.assert_array_equal(plain[i].image, cached[i].image)
            np.testing.assert_array_equal(plain[i].mask, cached[i].mask)
    monkeypatch.setattr("clad.data.dataset.open_rgb", None)
    monkeypatch.setattr("clad.data.dataset.decode_fitting_mask", None)
    assert cached[6].mask.any()


def test_mask_of_another_size_is_refused_when_loaded(samples, tmp_path):
    save(np.ones((64, 32), dtype=bool), tmp_path / "cut_mask.png")
    with pytest.raises(ValueError, match=r"mask \(64, 32\) differs from image \(64, 64\)"):
        SampleDataset(samples, (16, 16))[6]


def test_augmentation_moves_the_mask_along():
    image, mask = defective_texture(np.random.default_rng(1))
    steps = ("horizontal_flip", "vertical_flip", "rotate90")
    moved = set()
    for seed in range(12):
        turned, turned_mask = augment(image, mask, steps, np.random.default_rng(seed))
        np.testing.assert_array_equal(turned.max(axis=2) < 45, turned_mask)
        moved.add(turned_mask.tobytes())
    assert len(moved) > 3
    np.testing.assert_array_equal(augment(image, mask, (), np.random.default_rng(0))[0], image)


def test_augmentation_keeps_the_size_of_images_that_are_not_square():
    image, mask = normal_texture(np.random.default_rng(0))[:40], np.zeros((40, 64), dtype=bool)
    for seed in range(8):
        turned, turned_mask = augment(image, mask, ("rotate90",), np.random.default_rng(seed))
        assert turned.shape == (40, 64, 3)
        assert turned_mask.shape == (40, 64)


def test_brightness_multiplies_within_ten_percent():
    image, mask = np.full((4, 4, 3), 100, dtype=np.uint8), np.zeros((4, 4), dtype=bool)
    values = [
        augment(image, mask, ("brightness",), np.random.default_rng(s))[0][0, 0, 0]
        for s in range(50)
    ]
    assert 90 <= min(values) < 95
    assert 105 < max(values) <= 110


def test_unknown_augmentation_lists_the_choices():
    with pytest.raises(ValueError, match=r"one of mosaic, horizontal_flip, .*; got 'blur'"):
        augment(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), bool), ("blur",), None)


def test_epoch_sampler_counts_passes_or_asks():
    counted = EpochSampler(9, seed=0)
    first, second = list(counted), list(counted)
    assert [epoch for epoch, _ in first + second] == [0] * 9 + [1] * 9
    assert sorted(index for _, index in first) == list(range(9))
    assert [index for _, index in first] != [index for _, index in second]
    asked = EpochSampler(9, seed=0, current_epoch=lambda: 1)
    assert list(asked) == second == list(asked)
    assert list(EpochSampler(9, seed=1)) != first


def test_probability_outside_its_range_is_refused(samples):
    with pytest.raises(ValueError, match=r"synthesis_probability in \[0, 1\], got 1.5"):
        SampleDataset(samples, (8, 8), synthesis_probability=1.5)
