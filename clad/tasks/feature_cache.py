"""Encoding each image once: what a frozen tower says of it is kept on disk and read afterwards."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from clad.adapters.base import Adapter
from clad.data.datamodule import AnomalyDataModule
from clad.data.feature_store import (
    FeatureStore,
    Layout,
    content_digests,
    folder_bytes,
    read_layout,
    split_features,
    write_layout,
)
from clad.heads.base import Head
from clad.inputs.base import InputTransform
from clad.losses.base import Loss
from clad.prompts.base import PromptStrategy
from clad.samples import Sample
from clad.tasks.cache_settings import FeatureCache
from clad.tasks.encoding import encode_images
from clad.tasks.tower_fingerprint import tower_fingerprint
from clad.tasks.trainer_data import data_of
from clad.towers.base import Tower
from clad.types import ImageFeatures
from clad.version import __version__

_GIB, _MIB = 2**30, 2**20


def expect_fixed_features(
    tower: Tower,
    head: Head,
    losses: Sequence[Loss],
    prompts: PromptStrategy | None,
    inputs: InputTransform | None,
    data: AnomalyDataModule,
) -> None:
    """Refuse a recipe in which an image's features change, or its pixels are asked for.

    Raises:
        ValueError: With what stands in the way.
    """
    pixel_losses = [loss.name for loss in losses if loss.needs_pixels]
    learns = any(parameter.requires_grad for parameter in tower.parameters())
    synthesises = data.synthesis is not None and data.synthesis_probability > 0
    reasons = (
        (bool(data.augmentation), f"data.augmentation {list(data.augmentation)}"),
        (synthesises, f"data.synthesis {type(data.synthesis).__name__}"),
        (inputs is not None, "model.inputs, which changes pixels"),
        (learns, "a tower that learns (model.tuning, or prompts in it)"),
        (head.needs_gradients, f"{type(head).__name__}, which differentiates through the tower"),
        (bool(pixel_losses), f"{', '.join(pixel_losses)}, which compares pixels"),
        (
            prompts is not None and prompts.per_image,
            f"{type(prompts).__name__}, which looks at each image",
        ),
    )
    for stands_in_the_way, what in reasons:
        if stands_in_the_way:
            raise ValueError(
                f"expected features that never change for model.feature_cache, got {what}; "
                "leave one of the two out"
            )


def use_cache(cache: FeatureCache, trainer: Trainer, tower: Tower, adapter: Adapter | None) -> None:
    """Let the trainer's data bring features, those that are missing encoded once.

    Says before it starts what the disk will hold.

    Args:
        cache: Where and how.
        trainer: Its data holds the images; features are made in its precision.
        tower: Encodes them; frozen.
        adapter: Decides whether the tower's own patches are needed.

    Raises:
        ValueError: If the disk would not do.
    """
    data, precision = data_of(trainer), trainer.precision_plugin
    everything = (*data.splits.train, *data.splits.validation)
    digests = content_digests(sample.image_path for sample in everything)
    samples = _one_per_content(everything, digests)
    reads_patches = adapter is None or adapter.reads_patches
    numerics = (precision.precision, tower.mean.device.type, torch.get_float32_matmul_precision())
    what = (tower_fingerprint(tower), data.image_size, numerics, cache.precision, reads_patches)
    key = hashlib.blake2b(repr((__version__, *what)).encode(), digest_size=8).hexdigest()
    folder = cache.folder / f"{type(tower).__name__}-{key}"

    layout = read_layout(folder)
    missing = (
        samples if layout is None else _missing(samples, FeatureStore(folder, layout, digests))
    )
    fresh = _encoded(missing, data, tower, precision, reads_patches)
    first = next(fresh, None)
    if layout is None:
        assert first is not None, "without a layout, every image is missing"
        layout = Layout.of(first[1], cache.precision)
    _expect_room(cache, layout, len(samples), len(missing))
    store = FeatureStore(folder, layout, digests)
    if first is not None:
        write_layout(folder, layout)
        for path, features in chain([first], fresh):
            store.put(path, features)
    data.use_features(store)


def _one_per_content(samples: Sequence[Sample], digests: Mapping[Path, str]) -> list[Sample]:
    """One sample for each content of an image file."""
    return list({digests[sample.image_path]: sample for sample in samples}.values())


def _missing(samples: Sequence[Sample], store: FeatureStore) -> list[Sample]:
    """Samples without an intact entry."""
    with ThreadPoolExecutor() as pool:
        intact = pool.map(store.has, (sample.image_path for sample in samples))
        return [sample for sample, is_there in zip(samples, intact, strict=True) if not is_there]


def _encoded(
    samples: Sequence[Sample],
    data: AnomalyDataModule,
    tower: Tower,
    precision: Precision,
    keeps_patches: bool,
) -> Iterator[tuple[Path, ImageFeatures]]:
    """Each image's file and features, made as the training would make them."""
    if not samples:
        return
    device = tower.mean.device
    for batch in data.plain_dataloader(samples):
        with torch.no_grad(), precision.forward_context():
            features = encode_images(batch.images.to(device), tower)
        if not keeps_patches:
            features = replace(features, patches=None)
        features = features.map(Tensor.cpu)
        yield from zip(map(Path, batch.paths), split_features(features), strict=True)


def _expect_room(cache: FeatureCache, layout: Layout, num_images: int, num_missing: int) -> None:
    """Say what the disk will hold.

    Raises:
        ValueError: If that is more than allowed, or than there is.
    """
    size, there = layout.num_file_bytes, folder_bytes(cache.folder)
    total = there + num_missing * size
    rank_zero_info(
        f"feature cache: {num_images:,} images x {_size(size)} = {_size(num_images * size)}, "
        f"{num_missing:,} of them to encode; {cache.folder} will hold {_size(total)}, "
        f"at most {cache.max_gib:g} GiB"
    )
    if total > cache.max_gib * _GIB:
        raise ValueError(
            f"expected at most {cache.max_gib:g} GiB of features in {cache.folder}, got "
            f"{_size(there)} there and {_size(num_missing * size)} to come; raise "
            "model.feature_cache.max_gib, set precision to half, or delete the folder"
        )
    cache.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache.folder).free
    if num_missing * size > free:
        raise ValueError(
            f"expected {_size(num_missing * size)} free for features in {cache.folder}, got "
            f"{_size(free)}; choose another model.feature_cache.folder"
        )


def _size(num_bytes: int) -> str:
    """Bytes in a unit that fits."""
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB")):
        if num_bytes >= unit / 10:
            return f"{num_bytes / unit:.2f} {name}"
    return f"{num_bytes / 1024:.2f} KiB"
