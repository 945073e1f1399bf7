"""One dense pass against WinCLIP's windows: seconds from pixels to a map at image size.

Run with `python benchmarks/dense_map.py`. ViT-B-16-plus-240 with random weights, so nothing is
downloaded; all ways are given the same pixels and the same two text prototypes. The peer takes the
365 windows of an image one after the other, as the method is written down; its embeddings are ours
up to rounding, or the command fails. anomalib's WinClip is timed only: it swaps batch and sequence
for a layout that open_clip 3 no longer has, so that its windows attend to each other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import torch
from harness import Claim, Measured, add_arguments, alternate, main_guard, ratio, report
from torch import Tensor
from torch.nn import functional

from clad.alignment import align
from clad.heads.base import Head
from clad.heads.patch_text import PatchText
from clad.heads.winclip import WinCLIP
from clad.precision import full_precision, has_fast_bf16, tower_precision
from clad.towers.open_clip import OpenClipTower
from clad.types import ImageFeatures, Prediction, TextPrototypes

CLAIM = "a dense text map: at least 10 times as fast as WinCLIP's windows one by one"
PEER = "literal WinCLIP windows; anomalib's WinClip (time only)"
NEEDS = ("anomalib",)
MODEL = "ViT-B-16-plus-240"
SIDES = (2, 3)
TEMPERATURE = 0.07
FIRST_VV_BLOCK = 7
SIDE_PX, WIDTH, SIGMA_PX = 240, 640, 4.0
LITERAL, ANOMALIB = "windows one by one (literal)", "anomalib WinClip (time only)"
BATCHED, DENSE, DENSE_BF16 = "clad: windows in batches", "clad: dense map", "clad: dense map, bf16"


@dataclass(frozen=True)
class Work:
    """What every way is given.

    Args:
        pixels: (B, 3, 240, 240) float, normalised.
        prototypes: Of one object.
        device: Where.
    """

    pixels: Tensor
    prototypes: TextPrototypes
    device: torch.device

    def map_of(self, features: ImageFeatures, head: Head) -> Prediction:
        """Scores, and maps at image size."""
        names = self.prototypes.class_names * len(self.pixels)
        with full_precision(self.device):
            alignment = align(features, self.prototypes, names, 1 / TEMPERATURE)
            return head(features, alignment, names, tuple(self.pixels.shape[-2:]))

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def literal_windows(tower: OpenClipTower, pixels: Tensor, step: int) -> tuple[Tensor, ...]:
    """(B, N, D) per scale: each window alone through the model's own modules.

    Args:
        tower: A transformer with class token.
        pixels: (B, 3, H, W) float.
        step: Of the windows only every step-th is calculated; the others repeat the last one.
    """
    visual = tower.model.visual
    cells = visual.conv1(pixels).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    first = visual.class_embedding + visual.positional_embedding[0]
    found = []
    for side in SIDES:
        rows: list[Tensor] = []
        for image in cells:
            for number, places in enumerate(windows_of(visual.grid_size, side)):
                if number % step == 0:
                    inside = torch.stack([first, *(image[place] for place in places)])
                    states = visual.transformer(visual.ln_pre(inside[None]))
                    vector = visual.ln_post(states[0, 0]) @ visual.proj
                rows.append(vector)
        windows = functional.normalize(torch.stack(rows), dim=-1)
        found.append(windows.unflatten(0, (len(pixels), -1)))
    return tuple(found)


def windows_of(grid: tuple[int, int], side: int) -> Iterator[list[int]]:
    """Positions of each window's patches, windows row by row."""
    height, width = grid
    for top in range(height - side + 1):
        for left in range(width - side + 1):
            yield [
                row * width + column
                for row in range(top, top + side)
                for column in range(left, left + side)
            ]


def anomalib_model(prototypes: TextPrototypes, device: torch.device) -> torch.nn.Module:
    """The peer's own model with random weights and our prototypes."""
    from anomalib.models.image.winclip import torch_model

    torch_model.PRETRAINED = None  # it would download weights
    model = torch_model.WinClipModel(scales=SIDES)
    model._text_embeddings = prototypes.embeddings[0]
    return model.to(device).eval()


def ways(work: Work, step: int, has_peer: bool) -> dict[str, Callable[[], Prediction | None]]:
    """Name of each way, and what it does from pixels to maps."""
    plain = OpenClipTower(MODEL, "random").to(work.device)
    batched = OpenClipTower(MODEL, "random", window_sides=SIDES).to(work.device)
    dense = OpenClipTower(MODEL, "random", vv_from_layer=FIRST_VV_BLOCK).to(work.device)
    windows_head, dense_head = WinCLIP(), PatchText("probability", sigma_px=SIGMA_PX)

    def literal() -> ImageFeatures:
        windows = literal_windows(plain, work.pixels, step)
        return replace(plain(work.pixels), windows=windows, window_sides=SIDES)

    def to_map(
        encode: Callable[[], ImageFeatures],
        head: Head,
        precision: AbstractContextManager[object] | None = None,
    ) -> Prediction:
        with precision or full_precision(work.device):
            prediction = work.map_of(encode(), head)
        work.wait()
        return prediction

    found: dict[str, Callable[[], Prediction | None]] = {
        LITERAL: lambda: to_map(literal, windows_head),
        BATCHED: lambda: to_map(lambda: batched(work.pixels), windows_head),
        DENSE: lambda: to_map(lambda: dense(work.pixels), dense_head),
    }
    if has_fast_bf16(work.device):
        found[DENSE_BF16] = lambda: to_map(
            lambda: dense(work.pixels), dense_head, tower_precision("bf16", work.device)
        )
    if has_peer:
        peer = anomalib_model(work.prototypes, work.device)

        def theirs() -> None:
            peer(work.pixels)
            work.wait()

        found[ANOMALIB] = theirs
    return found


@torch.inference_mode()
def main() -> int:
    """Print the table; 1 if a claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    add_arguments(parser, rounds=3)
    parser.add_argument("--images", type=int, default=1, help="in one batch")
    parser.add_argument(
        "--window-step",
        type=int,
        default=1,
        metavar="N",
        help="one by one, calculate every N-th window only, and count N times the seconds",
    )
    parser.add_argument("--no-anomalib", action="store_true", help="leave that row out")
    wanted = parser.parse_args()
    found = ways(make_work(wanted.images), wanted.window_step, not wanted.no_anomalib)
    last: dict[str, Prediction | None] = {}

    def run(name: str) -> None:
        last[name] = found[name]()

    for name in found.keys() - {LITERAL}:
        run(name)  # the first call of each sets up kernels
    measured = alternate(wanted.rounds, {name: partial(run, name) for name in found})
    factors = dict.fromkeys(found, 1 / wanted.images) | {
        LITERAL: wanted.window_step / wanted.images
    }
    rows = {
        name: Measured(name, [seconds * factors[name] for seconds in each.seconds])
        for name, each in measured.items()
    }
    claims = [
        Claim("time, literal windows over dense map", ratio(rows[LITERAL], rows[DENSE]), 10.0),
        Claim("time, literal windows over batches", ratio(rows[LITERAL], rows[BATCHED]), 2.0),
        Claim("time, windows in batches over dense map", ratio(rows[BATCHED], rows[DENSE])),
    ]
    if not wanted.no_anomalib:
        theirs = ratio(rows[ANOMALIB], rows[DENSE])
        claims.append(Claim("time, anomalib's windows over dense map", theirs))
    one_by_one, batched = last[LITERAL], last[BATCHED]
    if wanted.window_step == 1 and one_by_one and batched:
        claims.append(difference(one_by_one, batched))
    return report(
        f"{CLAIM}; seconds per image",
        rows.values(),
        claims,
        packages=["torch", "open_clip_torch", "anomalib"],
        wanted=wanted,
        notes=[
            f"{MODEL}, random weights, {wanted.images} image(s), {torch.get_num_threads()} threads"
        ],
    )


def make_work(num_images: int) -> Work:
    """Random pixels and prototypes on the GPU, if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(num_images, 3, SIDE_PX, SIDE_PX, generator=generator)
    embeddings = functional.normalize(torch.randn(1, 2, WIDTH, generator=generator), dim=-1)
    prototypes = TextPrototypes(("nut",), embeddings.to(device))
    return Work(pixels.to(device), prototypes, device)


def difference(literal: Prediction, batched: Prediction) -> Claim:
    """That maps of both ways are the same up to rounding."""
    assert literal.maps is not None
    assert batched.maps is not None
    largest = float((literal.maps - batched.maps).abs().max())
    return Claim("difference of maps, one by one and in batches", largest, at_most=1e-5, unit="")


if __name__ == "__main__":
    main_guard(main)
