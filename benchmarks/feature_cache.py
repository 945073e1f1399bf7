"""Training a frozen-tower method with and without the feature cache, in one run.

    python benchmarks/feature_cache.py [--data DIR] [--images 16] [--epochs 15]

The method is APRIL-GAN's: one linear map per layer of CLIP ViT-L/14 (3,148,800 weights on layers 6,
12, 18, 24), focal and dice loss of the maps, Adam, batches of 8; at 224 pixels in place of 518, so
that a processor gets through. The tower has random weights: that changes what is learned, not how
long it takes. `clad fit` refuses such a tower, because its scores would mean nothing; this script
looks at seconds and losses only, and tells it that image and text belong together. Without --data
the images are small drawings made here, with masks.

Both trainings see the same images in the same order and start from the same weights; each round
begins with an empty cache. Seconds run from the call of `fit` to its end and hold everything:
hashing files and weights, encoding, writing, the words. The losses of both have to be the same.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import Claim, add_arguments, alternate, main_guard, ratio, report
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

CLAIM = "15 epochs of a frozen-tower method take an eighth of the time with the feature cache"
PEER = "encoding in every epoch"
NEEDS = ()

AT_LEAST = 8
_OURS = "feature cache"
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
    """Loss of every training step."""

    def __init__(self) -> None:
        self.values: list[float] = []

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


def make_tower() -> OpenClipTower:
    """CLIP ViT-L/14 with random weights that is taken for aligned."""
    tower = OpenClipTower("ViT-L-14", "random", layers=(6, 12, 18, 24))
    tower.is_aligned = True
    return tower


def train(
    tower: OpenClipTower, root: Path, wanted: argparse.Namespace, cache: FeatureCache | None
) -> list[float]:
    """Loss of every step of one training."""
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
    trainer.fit(task, datamodule=data)
    return losses.values


def ways(
    root: Path, scratch: Path, wanted: argparse.Namespace, losses: dict[str, list[float]]
) -> dict[str, Callable[[], dict[str, float | str]]]:
    """Both trainings; each leaves the losses of its steps behind."""
    tower = make_tower()
    tower.encode_image(torch.zeros(_BATCH, 3, _SIDE_PX, _SIDE_PX))  # so that neither is cold

    def run(name: str, cache: FeatureCache | None) -> dict[str, float | str]:
        losses[name] = train(tower, root, wanted, cache)
        disk = 0 if cache is None else folder_bytes(cache.folder)
        last = f"{losses[name][-1]:.6f}"
        return {"epochs": wanted.epochs, "last loss": last, "disk MiB": disk / 2**20}

    def cached() -> dict[str, float | str]:
        folder = Path(tempfile.mkdtemp(prefix="cache_", dir=scratch))
        return run(_OURS, FeatureCache(folder, max_gib=2.0))

    return {PEER: lambda: run(PEER, None), _OURS: cached}


def main() -> int:
    """Print the comparison; 1 if the claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    parser.add_argument("--data", type=Path, help="folder of good and defective images with masks")
    parser.add_argument("--images", type=int, default=16, help="number of training images")
    parser.add_argument("--epochs", type=int, default=15)
    add_arguments(parser, rounds=1)
    wanted = parser.parse_args()
    quieten()
    warnings.filterwarnings("ignore", message=".*val_dataloader.*")
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="feature_cache_") as scratch:
        root = wanted.data
        if root is None:
            root = Path(scratch) / "images"
            TrainOnAll(wanted.images).write_tiny(root)
        root = expect_folder("--data", root, "name a folder of images")
        found = alternate(wanted.rounds, ways(root, Path(scratch), wanted, losses))
    difference = float(np.abs(np.subtract(losses[PEER], losses[_OURS])).max())
    peer, ours = found[PEER], found[_OURS]
    claims = [
        Claim(f"seconds of {wanted.epochs} epochs", ratio(peer, ours), at_least=AT_LEAST),
        Claim("of the processor", ratio(peer, ours, "cpu_seconds")),
        Claim("largest difference of a step's losses", difference, at_most=0, unit=""),
    ]
    notes = [f"{wanted.images} images of {_SIDE_PX} px, {torch.get_num_threads()} threads"]
    packages = ["torch", "lightning", "open_clip_torch"]
    return report(CLAIM, found.values(), claims, packages=packages, wanted=wanted, notes=notes)


if __name__ == "__main__":
    main_guard(main)
