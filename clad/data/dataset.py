"""Samples -> items -> Batch: decoding, cache, augmentation and synthesis, in any loader worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from clad.checks import expect_range
from clad.data.augment import MOSAIC, MOSAIC_PROBABILITY, Augmentation, augment, tile
from clad.data.cache import PixelCache
from clad.data.donors import DonorPool, expect_landmarks
from clad.data.feature_store import FeatureStore, join_features
from clad.data.images import (
    ImageArray,
    MaskArray,
    Size,
    decode_fitting_mask,
    open_rgb,
    resize_mask,
    resized,
)
from clad.data.synthesising import forge, synthesise
from clad.samples import Sample
from clad.synthesis.base import FaceSynthesizer, Synthesizer
from clad.types import Batch, ImageFeatures

SYNTHETIC = "synthetic"
"""``defect_type`` of images that a generator made."""

PARTNER = 2**60
"""Added to the epoch of an index, it asks for the forged partner of the image that the plain epoch
gives: both see the same random numbers."""

Index = int | tuple[int, int]


@dataclass(frozen=True)
class Item:
    """One image with its truth, before batching.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        has_mask: Whether ``mask`` is known to be right.
        label: 1 anomalous.
        defect_type: ``good``, the owner's name, or ``synthetic``.
        sample: Where the pixels come from.
        features: What a feature cache holds of it, a batch of one; ``image`` is then (0, 0, 3).
    """

    image: ImageArray
    mask: MaskArray
    has_mask: bool
    label: int
    defect_type: str
    sample: Sample
    features: ImageFeatures | None = None


class SampleDataset(Dataset[Item]):
    """Items of a list of samples, the same in whatever process and order they are asked for.

    All randomness of an item comes from (seed, stream, epoch, index). The epoch travels inside the
    index (see ``EpochSampler``), because persistent workers hold a copy of this object that no
    ``set_epoch`` of the main process would reach.

    Args:
        samples: What to load.
        size: (height, width) of the items.
        cache: Where resized pixels are kept, or None to decode every time.
        synthesis: Generator of anomalies, or None.
        synthesis_probability: Share of normal images that the generator replaces, in [0, 1].
        augmentation: Steps applied before synthesis, in order.
        seed: At least 0.
        stream: Keeps data sets of one seed independent of each other.
        features: Where the images' features are read from in place of pixels, or None.
        paired: Whether indices say which images are replaced (``PARTNER``), instead of chance.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: Size,
        cache: PixelCache | None = None,
        synthesis: Synthesizer | None = None,
        synthesis_probability: float = 0.0,
        augmentation: Sequence[Augmentation] = (),
        seed: int = 0,
        stream: int = 0,
        features: FeatureStore | None = None,
        paired: bool = False,
    ) -> None:
        expect_range("synthesis_probability", synthesis_probability, 0, 1)
        self.samples = tuple(samples)
        self.size = size
        self.cache = cache
        self.synthesis = synthesis
        self.synthesis_probability = synthesis_probability
        self.augmentation = tuple(augmentation)
        self.seed = seed
        self.stream = stream
        self.features = features
        self.paired = paired
        self._donors: DonorPool | None = None
        if isinstance(synthesis, FaceSynthesizer) and (synthesis_probability or paired):
            expect_landmarks(self.samples, type(synthesis).__name__)
            self._donors = DonorPool(self.samples, self._load_photo)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Index) -> Item:
        epoch, position = index if isinstance(index, tuple) else (0, index)
        item = self._stored(self.samples[position])
        if item.features is not None:
            return item
        epoch, is_partner = epoch % PARTNER, epoch >= PARTNER
        rng = np.random.default_rng((self.seed, self.stream, epoch, position))
        chance = rng.random() < self.synthesis_probability
        may_be_replaced = is_partner if self.paired else chance
        if self._donors is not None and item.label == 0:
            return self._forged(item, self._donors, may_be_replaced, rng)
        if MOSAIC in self.augmentation and rng.random() < MOSAIC_PROBABILITY:
            item = self._mosaic(item.sample, rng)
        if self.augmentation:
            image, mask = augment(item.image, item.mask, self.augmentation, rng)
            item = replace(item, image=image, mask=mask)
        if self.synthesis is not None and may_be_replaced and item.label == 0:
            image, mask = synthesise(self.synthesis, item.image, rng)
            return Item(image, mask, True, 1, SYNTHETIC, item.sample)
        return item

    def _forged(
        self, item: Item, donors: DonorPool, is_forged: bool, rng: np.random.Generator
    ) -> Item:
        """The forged face, or the real one as its generator lets it look; then augmented."""
        assert isinstance(self.synthesis, FaceSynthesizer)
        made = forge(self.synthesis, item.sample, item.image, donors, rng)
        pixels, mask = (made.image, made.mask) if is_forged else (made.real, item.mask)
        image, mask = augment(pixels, mask, self.augmentation, rng)
        if is_forged:
            return Item(image, mask, True, 1, SYNTHETIC, item.sample)
        return replace(item, image=image, mask=mask)

    def _stored(self, sample: Sample) -> Item:
        """The sample as it is on disk, or its features."""
        has_mask = sample.label == 0 or sample.mask_path is not None
        mask, features = self._load_mask(sample), None
        if self.features is None:
            image = self._load_image(sample.image_path)
        else:
            image = np.zeros((0, 0, 3), dtype=np.uint8)
            features = self.features.get(sample.image_path)
        return Item(image, mask, has_mask, sample.label, sample.defect_type, sample, features)

    def _mosaic(self, sample: Sample, rng: np.random.Generator) -> Item:
        """Four random samples of the sample's category side by side, with what is known of them."""
        alike = [other for other in self.samples if other.category == sample.category]
        tiles = [self._stored(alike[position]) for position in rng.integers(len(alike), size=4)]
        image, mask = tile([each.image for each in tiles], [each.mask for each in tiles])
        worst = max(tiles, key=lambda each: each.label)
        has_mask = all(each.has_mask for each in tiles)
        return Item(image, mask, has_mask, worst.label, worst.defect_type, sample)

    def _load_photo(self, sample: Sample) -> ImageArray:
        return self._load_image(sample.image_path)

    def _load_image(self, path: Path) -> ImageArray:
        size = self.size
        return self._read(path, (*size, 3), lambda: resized(open_rgb(path), size))

    def _load_mask(self, sample: Sample) -> MaskArray:
        size, path, mask_path = self.size, sample.image_path, sample.mask_path
        if mask_path is None:
            return np.zeros(size, dtype=bool)
        mask = self._read(mask_path, size, lambda: _fitting_mask(path, mask_path, size))
        return mask.astype(bool)

    def _read(
        self, path: Path, shape: tuple[int, ...], make: Callable[[], ImageArray]
    ) -> ImageArray:
        return make() if self.cache is None else self.cache.get(path, shape, make)


class EpochSampler(Sampler[tuple[int, int]]):
    """(epoch, index) pairs of every index in an order drawn from (seed, epoch).

    Args:
        num_samples: Number of indices.
        seed: At least 0.
        current_epoch: Says which epoch starts now; None counts the passes.
    """

    def __init__(
        self, num_samples: int, seed: int, current_epoch: Callable[[], int | None] | None = None
    ) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.current_epoch = current_epoch
        self._num_passes = 0

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        known = self.current_epoch() if self.current_epoch is not None else None
        epoch = self._num_passes if known is None else known
        self._num_passes += 1
        return iter(self.draws(epoch))

    def draws(self, epoch: int) -> list[tuple[int, int]]:
        """(epoch, index) pairs in the order of that epoch."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
        return [(epoch, int(index)) for index in order]


def collate(items: Sequence[Item]) -> Batch:
    """Batch of items, in order."""
    stored = [item.features for item in items if item.features is not None]
    return Batch(
        images=_stack([item.image for item in items]).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor([item.label for item in items], dtype=torch.int64),
        masks=_stack([item.mask for item in items]),
        has_mask=torch.tensor([item.has_mask for item in items], dtype=torch.bool),
        categories=tuple(item.sample.category for item in items),
        defect_types=tuple(item.defect_type for item in items),
        paths=tuple(str(item.sample.image_path) for item in items),
        domains=tuple(item.sample.domain for item in items),
        features=join_features(stored) if stored else None,
        origins=tuple(item.sample.origin for item in items),
        groups=tuple(item.sample.group for item in items),
    )


def _fitting_mask(image_path: Path, mask_path: Path, size: Size) -> ImageArray:
    """(H, W) uint8 mask of 0 and 1, refused if it was drawn at another size than its image."""
    mask = decode_fitting_mask(mask_path, image_path)
    return resize_mask(mask, size).astype(np.uint8)


def _stack(arrays: Sequence[ImageArray] | Sequence[MaskArray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
