"""CLIP's encoders on a GPU: images per second, and the share of the chip's bfloat16 peak.

Run with `python benchmarks/encoders_gpu.py`. Weights are random. "encode + map" goes from
normalised pixels to a map at image size, "training step" from pixels through a frozen encoder to
one linear map per layer that learns (configs/recipes/april_gan.yaml). Operations are those of
matrix products, convolutions and attention, as torch's own counter counts them. Without a GPU it
says so and succeeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from harness import Measured, add_arguments, alternate, main_guard, not_measured, report
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from clad.adapters.layer_projection import LayerProjection
from clad.alignment import align
from clad.heads.patch_text import PatchText
from clad.losses.patch_dice import PatchDice
from clad.losses.patch_focal import PatchFocal
from clad.towers.open_clip import OpenClipTower
from clad.types import Batch, LossInputs, TextPrototypes

CLAIM = "CLIP encoders: images per second, and the share of a GPU's bfloat16 peak"
PEER = ""
NEEDS = ("gpu",)
NO_GPU = "torch sees no GPU here"
NAME = "nut"
ENCODERS = {
    "ViT-B/16@224": ("ViT-B-16", 224, (3, 6, 9, 12), 256),
    "ViT-L/14@336": ("ViT-L-14-336", 336, (6, 12, 18, 24), 64),
    "ViT-L/14@518": ("ViT-L-14-336", 518, (6, 12, 18, 24), 32),
}
"""Architecture, side in pixels, layers whose patches are read, images per batch."""

PEAKS = {
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "A100": 312,
    "L4": 121,
    "RTX 3090": 71,
    "RTX 4090": 165,
}
"""Dense bfloat16 TFLOP/s with float32 sums, from NVIDIA's data sheets: H100 and H200 (half of the
figure with sparsity), A100, L4; GA102 and Ada architecture papers for the GeForce cards."""


@dataclass(frozen=True)
class Encoder:
    """A frozen tower with what is needed to make maps of its patches, and to learn from them."""

    tower: OpenClipTower
    adapter: LayerProjection
    head: PatchText
    losses: tuple[PatchFocal, PatchDice]
    prototypes: TextPrototypes
    pixels: Tensor
    batch: Batch

    @property
    def device(self) -> torch.device:
        """Where all of it lies."""
        return self.pixels.device


def build(
    model: str | dict[str, object],
    side_px: int,
    layers: tuple[int, ...],
    num_images: int,
    device: torch.device,
) -> Encoder:
    """Random weights, pixels and masks."""
    tower = OpenClipTower(model, "random", image_size=side_px, layers=layers, precision="bf16")
    adapter = LayerProjection()
    adapter.attach(tower)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 2, tower.embed_dim, generator=generator)
    pixels = torch.randn(num_images, 3, side_px, side_px, generator=generator).to(device)
    masks = torch.zeros(num_images, side_px, side_px, dtype=torch.bool)
    masks[::2, : side_px // 4, : side_px // 4] = True
    ones = torch.ones(num_images, dtype=torch.bool)
    names = (NAME,) * num_images
    empty = torch.zeros(num_images, 3, 0, 0, dtype=torch.uint8)
    batch = Batch(empty, masks.flatten(1).any(1).long(), masks, ones, names, names, names)
    return Encoder(
        tower.to(device),
        adapter.to(device),
        PatchText("probability", sigma_px=4.0),
        (PatchFocal(resolution="image"), PatchDice(resolution="image")),
        TextPrototypes((NAME,), functional.normalize(rows, dim=-1).to(device)),
        pixels,
        batch.to(device),
    )


def to_map(encoder: Encoder) -> Tensor:
    """(B, H, W) maps of normalised pixels."""
    with torch.inference_mode():
        features = encoder.tower(encoder.pixels)
        scale, names = encoder.tower.logit_scale, encoder.batch.categories
        alignment = align(features, encoder.prototypes, names, scale)
        size = (encoder.pixels.shape[-2], encoder.pixels.shape[-1])
        maps = encoder.head(features, alignment, names, size).maps
    assert maps is not None
    return maps


def training_step(encoder: Encoder, optimizer: torch.optim.Optimizer) -> Tensor:
    """The loss, after a step on it."""
    with torch.no_grad():
        tokens = encoder.tower(encoder.pixels)
    with torch.autocast(encoder.device.type, torch.bfloat16):
        features = encoder.adapter(tokens)
    prototypes, names = encoder.prototypes, encoder.batch.categories
    alignment = align(features, prototypes, names, encoder.tower.logit_scale)
    inputs = LossInputs(encoder.batch, features, prototypes, alignment)
    loss = sum(
        (each(inputs) for each in encoder.losses), start=torch.zeros((), device=encoder.device)
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def ways(encoder: Encoder) -> dict[str, Callable[[], object]]:
    """Name and work; both wait for the device."""
    optimizer = torch.optim.AdamW(encoder.adapter.parameters(), lr=1e-3)

    def waited(work: Callable[[], object]) -> None:
        work()
        if encoder.device.type == "cuda":
            torch.cuda.synchronize()

    return {
        "encode + map": lambda: waited(lambda: to_map(encoder)),
        "training step": lambda: waited(lambda: training_step(encoder, optimizer)),
    }


def measure(name: str, encoder: Encoder, rounds: int, peak: float | None) -> list[Measured]:
    """A row per way.

    Args:
        name: Of the encoder.
        encoder: On its device.
        rounds: Times that each is run.
        peak: TFLOP/s; None leaves that column out.
    """
    found, flops = ways(encoder), {}
    for key, work in found.items():
        work()  # the first call sets up kernels
        with FlopCounterMode(display=False) as counter:
            work()
        flops[key] = counter.get_total_flops()
    rows = []
    for key, each in alternate(rounds, found).items():
        num_images, tera = len(encoder.pixels), flops[key] / each.median() / 1e12
        values: dict[str, float | str] = {
            "images/s": num_images / each.median(),
            "GFLOP per image": flops[key] / num_images / 1e9,
            "TFLOP/s": tera,
        }
        if peak is not None:
            values["of the peak"] = f"{tera / peak:.0%}"
        rows.append(replace(each, name=f"{name}, {key}", values=values))
    return rows


def peak_of(gpu: str) -> float | None:
    """TFLOP/s of a GPU's name; None for one that is not listed."""
    words = f" {gpu.replace('-', ' ')} "
    return next((peak for name, peak in PEAKS.items() if f" {name} " in words), None)


def main() -> int:
    """Print the table; always 0."""
    parser = argparse.ArgumentParser(description=CLAIM)
    add_arguments(parser, rounds=20)
    parser.add_argument("--images", type=int, help="per batch; default 256, 64 and 32")
    parser.add_argument("--peak", type=float, metavar="TFLOPS", help="of this GPU in bfloat16")
    wanted = parser.parse_args()
    if not torch.cuda.is_available():
        return not_measured(CLAIM, NO_GPU, wanted)
    peak = wanted.peak or peak_of(torch.cuda.get_device_name())
    rows = []
    for name, (model, side_px, layers, num_images) in ENCODERS.items():
        count = wanted.images or num_images
        encoder = build(model, side_px, layers, count, torch.device("cuda"))
        rows += measure(f"{name}, batches of {count}", encoder, wanted.rounds, peak)
        del encoder
        torch.cuda.empty_cache()
    known = "unknown, give --peak" if peak is None else f"{peak:g} TFLOP/s"
    return report(
        CLAIM,
        rows,
        [],
        packages=["torch", "open_clip_torch"],
        wanted=wanted,
        notes=[f"Peak of dense bfloat16: {known}"],
    )


if __name__ == "__main__":
    main_guard(main)
