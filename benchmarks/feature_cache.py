"""Training a frozen-tower method with and without the feature cache, in one run.

    python benchmarks/feature_cache.py [--data DIR] [--images 16] [--epochs 15]

The method is APRIL-GAN's: one linear map per layer of CLIP ViT-L/14 (3,148,800 weights on layers 6,
12, 18, 24), focal and dice loss of the maps, Adam, batches of 8; at 224 pixels in place of 518, so
that a processor gets through. The tower has random weights: that changes what is learned, not how
long it takes. `clad fit` refuses such a tower, because its scores would mean nothing; this script
looks at seconds and losses only, and tells it that image and text belong together. Without --data
the images are small drawings made here, with masks.

Both trainings see the same images in the same order and start from the same weights. Seconds run
from the call of `fit` to the end of the last epoch and hold everything: hashing files and weights,
encoding, writing, the words. Lines: seconds (by the clock and of the processor, which other work on
the machine does not lengthen) and losses of each, their ratio, the largest difference between the
losses of one step, and the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from clad.adapters.layer_projection import LayerProjection
from clad.checks import expect_folder
from clad.cli.quiet import quieten
from clad.data.base import Categories, DataSource
from clad.data.datamodule import AnomalyDataModule
from clad.data.feature_store import folder_bytes
from clad.data.folder import Folder
from clad.data.tiny import defective_texture, normal_texture, save
from clad.heads.patch_text import PatchText
from clad.losses.patch_dice import PatchDice
from clad.losses.patch_focal import PatchFocal
from clad.prompts.single_pair import SinglePair
from clad.samples import Splits
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.feature_cache import FeatureCache
from clad.towers.open_clip import OpenClipTower
from clad.types import Batch

_SIDE_PX = 224
_BATCH = 8


class TrainOnAll(DataSource):
    """Every image of a folder as training data, as an auxiliary data set is used.

    Args:
        most: Number of images to take.
    """

    name = "auxiliary"

    def __init__(self, most: int) -> None:
        self.most = most

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """The first anomalous and normal images in turn, for training alone."""
        found = Folder().list_samples(root, categories, seed)
        samples = (*found.test, *found.validation, *found.train)
        kinds = [[s for s in samples if s.label == label] for label in (1, 0)]
        half = min(self.most // 2, len(kinds[0]))
        chosen = kinds[0][:half] + kinds[1][: self.most - half]
        return Splits(train=tuple(chosen))

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Drawings of good and broken surfaces with masks."""
        for number in range(self.most):
            rng = np.random.default_rng((seed, number))
            if number % 2:
                image, mask = defective_texture(rng)
                save(mask, root / f"ground_truth/cut/{number:03d}.png")
                save(image, root / f"test/cut/{number:03d}.png")
            else:
                save(normal_texture(rng), root / f"train/good/{number:03d}.png")


class Losses(Callback):
    """Loss of every training step, and when each epoch ended."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.ends: list[float] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: dict[str, torch.Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note the loss."""
        self.values.append(outputs["loss"].item())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def make_tower() -> OpenClipTower:
    """CLIP ViT-L/14 with random weights that is taken for aligned."""
    tower = OpenClipTower("ViT-L-14", "random", layers=(6, 12, 18, 24))
    tower.is_aligned = True
    return tower


def train(
    tower: OpenClipTower, root: Path, wanted: argparse.Namespace, cache: FeatureCache | None
) -> tuple[float, float, list[float]]:
    """Seconds, processor seconds and losses of one training."""
    seed_everything(111, verbose=False)
    task = AnomalyTask(
        tower,
        PatchText(),
        SinglePair(),
        LayerProjection(),
        [PatchFocal(resolution="image"), PatchDice(resolution="image")],
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3, betas=(0.5, 0.999)),
        feature_cache=cache,
    )
    data = AnomalyDataModule(
        TrainOnAll(wanted.images),
        root,
        image_size=_SIDE_PX,
        train_batch_size=_BATCH,
        num_workers=0,
        seed=111,
    )
    losses = Losses()
    trainer = Trainer(
        max_epochs=wanted.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[losses],
    )
    began, cpu_began = time.perf_counter(), time.process_time()
    trainer.fit(task, datamodule=data)
    seconds, cpu_seconds = losses.ends[-1] - began, time.process_time() - cpu_began
    what = "encode every time" if cache is None else "feature cache"
    per_epoch = np.diff([began, *losses.ends])
    print(
        f"{what:18} {seconds:8.1f} s ({cpu_seconds:.1f} s of processor), first epoch "
        f"{per_epoch[0]:.1f} s, then {np.mean(per_epoch[1:]):.2f} s each; "
        f"loss {losses.values[0]:.6f} -> {losses.values[-1]:.6f}",
        flush=True,
    )
    return seconds, cpu_seconds, losses.values


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="training with and without the feature cache")
    parser.add_argument("--data", type=Path, help="folder of good and defective images with masks")
    parser.add_argument("--images", type=int, default=16, help="number of training images")
    parser.add_argument("--epochs", type=int, default=15)
    wanted = parser.parse_args()
    quieten()
    warnings.filterwarnings("ignore", message=".*val_dataloader.*")
    with tempfile.TemporaryDirectory(prefix="feature_cache_") as scratch:
        root, folder = wanted.data, Path(scratch) / "cache"
        if root is None:
            root = Path(scratch) / "images"
            TrainOnAll(wanted.images).write_tiny(root)
        root = expect_folder("--data", root, "name a folder of images")
        tower = make_tower()
        tower.encode_image(torch.zeros(_BATCH, 3, _SIDE_PX, _SIDE_PX))  # so that neither is cold
        cached_s, cached_cpu_s, cached = train(
            tower, root, wanted, FeatureCache(folder, max_gib=2.0)
        )
        plain_s, plain_cpu_s, plain = train(tower, root, wanted, None)
        difference = np.abs(np.subtract(cached, plain)).max()
        of_processor = f"({plain_cpu_s / cached_cpu_s:.1f} x of processor)"
        print(f"{'ratio':18} {plain_s / cached_s:8.1f} x {of_processor}")
        print(f"{'losses differ by':18} {difference:8.1e} at most, over {len(plain)} steps")
        print(f"{'disk':18} {folder_bytes(folder) / 2**20:8.1f} MiB for {wanted.images} images")
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
