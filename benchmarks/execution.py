"""Ways to run a frozen image encoder: images per second, and how far the features are off.

Run with `python benchmarks/execution.py`. The first row of each encoder is the peer: float32 with
channels first, nothing merged, nothing compiled, as timm runs it.
EfficientNet-Lite0 has the weights of its pip package; ViT-B/16's are random.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from harness import Claim, add_arguments, alternate, main_guard, ratio, report
from torch import Tensor

from clad.precision import tower_precision
from clad.tasks.execution import expect_compiler
from clad.towers.base import Tower
from clad.towers.folding import fold_batch_norms
from clad.towers.offline import OfflineTower
from clad.towers.open_clip import OpenClipTower

CLAIM = "merged batch norms and channels last: at least 1.2 times as fast on a CPU"
PEER = "the same networks with channels first"
NEEDS = ("offline",)
PLAIN, LAST, FOLDED = "channels first", "channels last", "batch norms merged"
BF16, COMPILED = "bfloat16", "compiled"
LEAST_RATIO, LARGEST_DIFFERENCE = 1.2, 1e-4
CPU = torch.device("cpu")
Encode = Callable[[Tensor], Sequence[Tensor]]


def tokens_of(tower: Tower, pixels: Tensor) -> Sequence[Tensor]:
    """What the tower gives."""
    return tower(pixels).tokens


def rounded(tower: Tower, pixels: Tensor) -> Sequence[Tensor]:
    """Likewise, calculated in bfloat16."""
    with tower_precision("bf16", CPU):
        return tower(pixels).tokens


def plain_efficientnet(tower: OfflineTower) -> Encode:
    """The network of timm with the same weights and channels first."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(tower.image_model.state_dict())
    model.eval().requires_grad_(False)

    def encode(pixels: Tensor) -> Sequence[Tensor]:
        maps = model.forward_intermediates(
            pixels, indices=list(tower.layers), intermediates_only=True
        )
        return [each.flatten(2).transpose(1, 2) for each in maps]

    return encode


def compiled(tower: Tower) -> Tower:
    """A copy to be compiled at its first call."""
    expect_compiler()
    copy = deepcopy(tower)
    copy.compile()
    return copy


def efficientnet_ways(is_compiled: bool) -> dict[str, Encode]:
    """Each way of the offline tower."""
    tower, folded = OfflineTower(256, words=False), OfflineTower(256, words=False)
    fold_batch_norms(folded)
    found: dict[str, Encode] = {
        PLAIN: plain_efficientnet(tower),
        LAST: partial(tokens_of, tower),
        FOLDED: partial(tokens_of, folded),
        f"{FOLDED}, {BF16}": partial(rounded, folded),
    }
    if is_compiled:
        found[f"{FOLDED}, {COMPILED}"] = partial(tokens_of, compiled(folded))
    return {f"EfficientNet-Lite0@256: {name}": way for name, way in found.items()}


def transformer_ways(is_compiled: bool) -> dict[str, Encode]:
    """Each way of ViT-B/16."""
    tower = OpenClipTower("ViT-B-16", "random")
    found: dict[str, Encode] = {
        PLAIN: partial(tokens_of, tower),
        BF16: partial(rounded, tower),
    }
    if is_compiled:
        found[COMPILED] = partial(tokens_of, compiled(tower))
    return {f"ViT-B/16@224: {name}": way for name, way in found.items()}


def largest_share(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference of a token's value, in shares of the largest value of its layer."""
    return max(
        float((ours.float() - plain).abs().max() / plain.abs().max())
        for ours, plain in zip(found, expected, strict=True)
    )


@torch.inference_mode()
def main() -> int:
    """Print the table; 1 if a claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    add_arguments(parser)
    parser.add_argument("--images", type=int, default=8, help="in one batch")
    parser.add_argument("--no-compile", action="store_true", help="leave those rows out")
    wanted = parser.parse_args()
    rows, claims = [], []
    for side, ways in (
        (256, efficientnet_ways(not wanted.no_compile)),
        (224, transformer_ways(not wanted.no_compile)),
    ):
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(wanted.images, 3, side, side, generator=generator)
        first, shares = {}, {}
        plain, *_ = ways
        expected = ways[plain](pixels)
        for name, way in ways.items():
            began = time.perf_counter()
            shares[name] = largest_share(way(pixels), expected)
            first[name] = time.perf_counter() - began
        measured = alternate(wanted.rounds, {n: partial(way, pixels) for n, way in ways.items()})
        for name, each in measured.items():
            values = {
                "images/s": wanted.images / each.median(),
                "times as fast": ratio(measured[plain], each).value,
                "largest difference": shares[name],
                "first call, s": first[name],
            }
            rows.append(replace(each, values=values))
            if name.endswith(FOLDED):
                faster = ratio(measured[plain], each)
                claims.append(Claim(f"time, {plain} over {FOLDED}", faster, LEAST_RATIO))
            if BF16 not in name and name != plain:
                claims.append(
                    Claim(f"difference, {name}", shares[name], at_most=LARGEST_DIFFERENCE, unit="")
                )
    return report(
        CLAIM,
        rows,
        claims,
        packages=["torch", "timm", "open_clip_torch"],
        wanted=wanted,
        notes=[
            "Differences are shares of a layer's largest value. "
            f"{torch.get_num_threads()} threads, batches of {wanted.images}, "
            f"AMX: {'yes' if torch.cpu._is_amx_tile_supported() else 'no'}"
        ],
    )


if __name__ == "__main__":
    main_guard(main)
