"""Any source as a LightningDataModule; the only file of this package that imports lightning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from clad.checks import expect_range
from clad.data.augment import Augmentation
from clad.data.base import DataSource
from clad.data.cache import PixelCache
from clad.data.clock import LoadingClock
from clad.data.dataset import EpochSampler, Item, SampleDataset, collate
from clad.data.feature_store import FeatureStore
from clad.data.few import Few
from clad.data.kinds import keep_trained_kinds
from clad.data.loading import as_size, choose_num_workers, expect_generator
from clad.data.sampling import Sampling
from clad.data.shares import Share
from clad.data.splits import check_disjoint
from clad.samples import Sample, Splits
from clad.synthesis.base import Synthesizer

_TRAIN_STREAM, _SYNTHETIC_VALIDATION_STREAM = 0, 1


class AnomalyDataModule(LightningDataModule):
    """Loaders over the splits of one source; each yields ``clad.types.Batch``.

    Args:
        source: The data set.
        root: Its folder; may be left out for data that ships in a package.
        categories: ``all`` or names of categories.
        image_size: Side in pixels, or (height, width).
        train_batch_size: Images per training batch.
        test_batch_size: Images per batch of every other loader.
        num_workers: Loader processes; None takes half the CPU cores (at most 8), or none at all
            for fewer than 200 images.
        cache_dir: Folder for resized images (0.19 MiB each at 256 x 256); None decodes every time.
        synthesis: Generator of anomalies for training, or None.
        synthesis_probability: Share of normal training images that it replaces, in [0, 1].
        augmentation: Steps on training images before synthesis: mosaic (with probability 0.2, four
            images of the category side by side), horizontal_flip, vertical_flip, rotate90,
            brightness.
        shots: Normal training images kept per category; then there is no validation, and an epoch
            is one batch at least. None keeps all.
        anomalies_per_type: Test anomalies of each defect type moved to training, with masks.
        reserved_per_type: Test anomalies of each type that leave the test, used or not, so that
            fewer and more of them are compared on one test; None takes ``anomalies_per_type``.
        anomaly_share: Share of labelled anomalous images in training batches, in (0, 1); an epoch
            keeps its number of images. None draws each image once.
        balance_domains: Whether each domain is drawn equally often in training, whatever its size.
        balance_categories: Likewise each category.
        paired_synthesis: Whether a training batch holds every normal image beside its synthetic
            partner (self-blended images); ``synthesis_probability`` is then not looked at, and the
            batch size counts both.
        train_kinds: Kinds of anomalies that stay in training and validation (their defect types);
            empty leaves normal images only, None keeps all.
        seed: Decides splits, order, augmentation and synthesis; at least 0.
        split_seed: Decides splits and shots in its place, at least 0; None takes ``seed``.
    """

    def __init__(
        self,
        source: DataSource,
        root: Path | None = None,
        categories: Literal["all"] | list[str] = "all",
        image_size: int | tuple[int, int] = 256,
        train_batch_size: int = 32,
        test_batch_size: int = 32,
        num_workers: int | None = None,
        cache_dir: Path | None = None,
        synthesis: Synthesizer | None = None,
        synthesis_probability: float = 0.5,
        augmentation: tuple[Augmentation, ...] = (),
        shots: int | None = None,
        anomalies_per_type: int = 0,
        reserved_per_type: int | None = None,
        anomaly_share: float | None = None,
        balance_domains: bool = False,
        balance_categories: bool = False,
        paired_synthesis: bool = False,
        train_kinds: list[str] | None = None,
        seed: int = 42,
        split_seed: int | None = None,
    ) -> None:
        super().__init__()
        expect_range("synthesis_probability", synthesis_probability, 0, 1)
        for name, value in (("train", train_batch_size), ("test", test_batch_size)):
            expect_range(f"{name}_batch_size", value, 1, float("inf"))
        for name, value in (("seed", seed), ("split_seed", split_seed or 0)):
            expect_range(name, value, 0, float("inf"))
        self.source = source
        self.root = None if root is None else Path(root)
        self.categories = categories
        self.image_size = as_size(image_size)
        self.train_batch_size = train_batch_size
        self.test_batch_size = test_batch_size
        self.num_workers = num_workers
        self.cache = None if cache_dir is None else PixelCache(Path(cache_dir))
        self.synthesis = synthesis
        self.synthesis_probability = synthesis_probability
        self.augmentation = tuple(augmentation)
        self.few = Few(shots, anomalies_per_type, reserved_per_type)
        fewest = 1 if shots is None else train_batch_size
        shares = (anomaly_share, balance_domains, balance_categories)
        self.sampling = Sampling(*shares, fewest, expect_generator(paired_synthesis, synthesis))
        self.train_kinds = train_kinds
        self.seed = seed
        self.split_seed = seed if split_seed is None else split_seed
        self.clock: LoadingClock | None = None
        self._splits: Splits | None = None
        self._features: FeatureStore | None = None

    def setup(self, stage: str | None = None) -> None:
        """List the samples once, whatever the stage, and check that roles share nothing.

        Raises:
            FileNotFoundError: If the root or a file of the layout is missing.
            ValueError: If the source finds no image, or two roles share a file or group.
        """
        del stage
        if self._splits is not None:
            return
        splits = self.source.list_samples(self.root, self.categories, self.split_seed)
        if not (splits.train or splits.validation or splits.test):
            raise ValueError(
                f"expected images in {self.root}, found none for {self.source.name} "
                f"(categories: {self.categories}); check data.root and data.categories"
            )
        splits = self.few.apply(keep_trained_kinds(splits, self.train_kinds), self.split_seed)
        check_disjoint(splits)
        self._splits = splits
        for note in splits.notes:
            rank_zero_info(note)

    @property
    def splits(self) -> Splits:
        """Samples by role."""
        self.setup()
        assert self._splits is not None
        return self._splits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Categories of any role, sorted."""
        splits = self.splits
        samples = (*splits.train, *splits.validation, *splits.test)
        return tuple(sorted({sample.category for sample in samples}))

    def train_dataloader(self) -> DataLoader[Item]:
        """Training images with augmentation and synthesis, in a new order each epoch.

        A last batch of one image is left out: statistics over a batch need two.

        Raises:
            ValueError: If there are no training images, or no anomalous ones to take a share of.
        """
        samples = self._expect_samples(self.splits.train, "training")
        share, paired = self.synthesis_probability, self.sampling.paired
        augmentation, features = self.augmentation, self._features
        dataset = self._dataset(samples, _TRAIN_STREAM, share, augmentation, features, paired)
        sampler = self.sampling.sampler(samples, self.seed, self._current_epoch)
        return self._loader(dataset, self.train_batch_size, sampler, persistent=True)

    def reference_dataloader(self) -> DataLoader[Item]:
        """Normal training images as they are, in order: what a memory of the normal is built from.

        Raises:
            ValueError: If the source has no normal training images.
        """
        normal = [sample for sample in self.splits.train if sample.label == 0]
        samples = self._expect_samples(normal, "normal training")
        dataset = self._dataset(samples, features=self._features)
        return self._loader(dataset, self.test_batch_size)

    def val_dataloader(self) -> DataLoader[Item]:
        """Validation images as they are, in order; may be empty. Processes share them."""
        dataset = self._dataset(self.splits.validation, features=self._features)
        return self._loader(dataset, self.test_batch_size, self._share(dataset), persistent=True)

    def calibration_dataloader(self) -> DataLoader[Item]:
        """All validation images, in every process: what heads and thresholds are fitted on."""
        dataset = self._dataset(self.splits.validation, features=self._features)
        return self._loader(dataset, self.test_batch_size)

    def synthetic_validation_dataloader(self) -> DataLoader[Item]:
        """Each normal validation image as it is, then one synthesised copy of each.

        The copies are the same in every epoch and share no random number with training.

        Raises:
            ValueError: If there is no generator or no normal validation image.
        """
        if self.synthesis is None:
            raise ValueError(
                "expected data.synthesis for synthetic validation images, got none; "
                "name a generator (configs/synthesis/)"
            )
        normal = [sample for sample in self.splits.validation if sample.label == 0]
        samples = self._expect_samples(normal, "normal validation")
        copies = self._dataset(samples, _SYNTHETIC_VALIDATION_STREAM, 1.0)
        pairs: Dataset[Item] = ConcatDataset([self._dataset(samples), copies])
        return self._loader(pairs, self.test_batch_size)

    def test_dataloader(self) -> DataLoader[Item]:
        """Test images as they are, in order; of several processes each has its share.

        Raises:
            ValueError: If the source has no test images.
        """
        dataset = self._dataset(self._expect_samples(self.splits.test, "test"))
        return self._loader(dataset, self.test_batch_size, self._share(dataset))

    def predict_dataloader(self) -> DataLoader[Item]:
        """The test images."""
        return self.test_dataloader()

    def plain_dataloader(self, samples: Sequence[Sample]) -> DataLoader[Item]:
        """These images as they are, in order, in batches of the training's size."""
        return self._loader(self._dataset(samples), self.train_batch_size)

    def use_features(self, store: FeatureStore | None) -> None:
        """Let training, reference and validation loaders made from now on bring features.

        Args:
            store: Holds those of all training and validation images; None goes back to pixels.
        """
        self._features = store

    def fingerprint(self) -> dict[str, Any]:
        """What the run saw: see ``clad.data.fingerprint``."""
        return self.source.fingerprint(self.root, self.splits)

    def _expect_samples(self, samples: Sequence[Sample], what: str) -> Sequence[Sample]:
        if not samples:
            raise ValueError(
                f"expected {what} images, got none from {self.source.name} at {self.root}; "
                f"{' '.join(self.splits.notes) or 'check data.root and data.categories'}"
            )
        return samples

    def _share(self, dataset: SampleDataset) -> Share | None:
        """What this process evaluates; None for everything."""
        known = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        return Share(dataset, **known) if known and len(dataset) else None

    def _current_epoch(self) -> int | None:
        return None if self.trainer is None else self.trainer.current_epoch

    def _dataset(
        self,
        samples: Sequence[Sample],
        stream: int = _TRAIN_STREAM,
        synthesis_probability: float = 0.0,
        augmentation: Sequence[Augmentation] = (),
        features: FeatureStore | None = None,
        paired: bool = False,
    ) -> SampleDataset:
        return SampleDataset(
            samples,
            self.image_size,
            cache=self.cache,
            synthesis=self.synthesis,
            synthesis_probability=synthesis_probability,
            augmentation=augmentation,
            seed=self.seed,
            stream=stream,
            features=features,
            paired=paired,
        )

    def _loader(
        self,
        dataset: Dataset[Item],
        batch_size: int,
        sampler: EpochSampler | Share | None = None,
        persistent: bool = False,
    ) -> DataLoader[Item]:
        num_workers = choose_num_workers(self.num_workers, len(dataset))  # type: ignore[arg-type]
        drops = isinstance(sampler, EpochSampler) and len(sampler) % batch_size == 1 < len(sampler)
        make = DataLoader if self.clock is None else self.clock.loader
        return make(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drops,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=persistent and num_workers > 0,
        )
