"""Four images of a category side by side, with their masks and what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from clad.data.augment import augment, tile
from clad.data.dataset import SampleDataset
from clad.data.images import decode_image, resize_image
from clad.data.tiny import defective_texture, save
from clad.samples import Sample


@pytest.fixture
def samples(tmp_path):
    """One flat colour per file; two categories; of each kind of label and mask."""
    listed = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        save(np.full((32, 32, 3), 30 * number, np.uint8), path)
        listed.append(Sample(path, 0, "nut" if number < 4 else "tile"))
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:16, 8:16] = True
    save(mask, tmp_path / "mask.png")
    listed[3] = Sample(tmp_path / "3.png", 1, "nut", "cut", tmp_path / "mask.png")
    listed[7] = Sample(tmp_path / "7.png", 1, "tile", "crack")
    return listed


def mosaics(samples, epochs=40, **settings):
    dataset = SampleDataset(samples, (32, 32), augmentation=("mosaic",), **settings)
    items = [dataset[epoch, n] for epoch in range(epochs) for n in range(len(samples))]
    return [item for item in items if len(np.unique(item.image)) > 1]


def test_tiles_lie_row_by_row_at_a_quarter_of_the_size():
    rng = np.random.default_rng(0)
    images, masks = zip(*(defective_texture(rng) for _ in range(4)), strict=True)
    image, mask = tile(images, masks)
    assert image.shape == images[0].shape
    assert mask.dtype == bool
    for number, (row, column) in enumerate([(0, 0), (0, 32), (32, 0), (32, 32)]):
        quarter = (slice(row, row + 32), slice(column, column + 32))
        np.testing.assert_array_equal(image[quarter], resize_image(images[number], (32, 32)))
        np.testing.assert_array_equal(mask[quarter], masks[number][1::2, 1::2])


def test_odd_sizes_are_filled_to_the_last_pixel():
    images = [np.full((7, 9, 3), 10 * n, np.uint8) for n in range(4)]
    image, mask = tile(images, [np.full((7, 9), n == 3) for n in range(4)])
    assert np.unique(image[:3, :4]) == 0
    assert np.unique(image[3:, 4:]) == 30
    assert mask.sum() == 4 * 5


def test_a_fifth_of_the_items_becomes_a_mosaic_of_its_own_category(samples):
    found = mosaics(samples, epochs=100)
    # Four equal tiles do not count here: 1 in 64 of the mosaics.
    assert 0.16 < len(found) / 800 < 0.24
    colours = {path: decode_image(path)[0, 0, 0] for path in (s.image_path for s in samples)}
    for item in found:
        alike = {int(colours[s.image_path]) for s in samples if s.category == item.sample.category}
        assert set(np.unique(item.image).tolist()) <= alike


def test_truth_is_that_of_the_four(samples):
    found = mosaics(samples)
    broken = {"nut": 90, "tile": 210}
    for item in found:
        corners = [item.image[row, column, 0] for row in (0, 31) for column in (0, 31)]
        count = corners.count(broken[item.sample.category])
        assert item.label == (count > 0)
        assert item.defect_type == (
            {"nut": "cut", "tile": "crack"}[item.sample.category] if count else "good"
        )
        # The broken nut has a mask, the broken tile has none.
        is_nut = item.sample.category == "nut"
        assert item.mask.sum() == (16 * count if is_nut else 0)
        assert item.has_mask == (is_nut or not count)
    assert {item.label for item in found} == {0, 1}


def test_the_same_seed_gives_the_same_bytes_and_others_do_not(samples):
    first, again, other = (mosaics(samples, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert [i.image.tobytes() for i in first] != [i.image.tobytes() for i in other]


def test_without_it_nothing_changes_and_augment_leaves_it_alone(samples):
    plain = SampleDataset(samples, (32, 32), augmentation=("rotate90",))
    assert all(len(np.unique(plain[epoch, 0].image)) == 1 for epoch in range(30))
    image, mask = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool)
    assert augment(image, mask, ("mosaic",), np.random.default_rng(0))[0] is not None
