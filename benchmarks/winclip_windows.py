"""WinCLIP's windows in batches against one short sequence at a time: seconds and difference.

Run with `python benchmarks/winclip_windows.py`. The architecture is the real one, weights are
random, so nothing is downloaded. Both ways run in turn, in one process; each time is the best of
the rounds. It ends with an error unless batches are twice as fast with the same result.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from clad.towers.open_clip import OpenClipTower

CLAIM = "WinCLIP's windows in batches are at least twice as fast as one by one"
PEER = "windows one by one"
NEEDS = ()

SIDES = (2, 3)
LEAST_RATIO = 2.0
LARGEST_DIFFERENCE = 1e-5


def literal_windows(tower: OpenClipTower, pixels: Tensor) -> list[Tensor]:
    """(B, N, D) per scale: every window of every image alone through the model's own modules."""
    visual = tower.model.visual
    cells = visual.conv1(pixels).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    first = visual.class_embedding + visual.positional_embedding[0]
    height, width = visual.grid_size
    found: list[Tensor] = []
    for side in SIDES:
        rows = []
        for image in cells:
            for top in range(height - side + 1):
                for left in range(width - side + 1):
                    inside = [
                        image[row * width + column]
                        for row in range(top, top + side)
                        for column in range(left, left + side)
                    ]
                    states = visual.ln_pre(torch.stack([first, *inside])[None])
                    states = visual.transformer(states)
                    rows.append(visual.ln_post(states[0, 0]) @ visual.proj)
        windows = functional.normalize(torch.stack(rows), dim=-1)
        found.append(windows.unflatten(0, (len(pixels), -1)))
    return found


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


@torch.inference_mode()
def main() -> None:
    """Print seconds per image of each way, their ratio and their largest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    towers = {
        "whole image alone": OpenClipTower(arguments.model, "random"),
        "whole image, V-V map": OpenClipTower(arguments.model, "random", vv_from_layer=7),
        "windows in batches": OpenClipTower(arguments.model, "random", window_sides=SIDES),
    }
    for tower in towers.values():
        tower.to(device)
    tower = towers["windows in batches"]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(arguments.images, 3, *tower.image_size, generator=generator).to(device)

    def literal() -> list[Tensor]:
        tower.model.encode_image(pixels)
        return literal_windows(tower, pixels)

    ways: dict[str, Callable[[], object]] = {
        name: lambda each=each: each.encode_pixels(pixels) for name, each in towers.items()
    }
    ways["windows one by one"] = literal
    best = dict.fromkeys(ways, float("inf"))
    results: dict[str, object] = {}
    for work in list(ways.values())[:3]:
        work()  # the first call of each also sets up kernels
    for _ in range(arguments.rounds):
        for name, work in ways.items():
            seconds, results[name] = timed(work)
            best[name] = min(best[name], seconds)
    report(best, results, arguments.images, f"{arguments.model} on {device}")


def report(best: dict[str, float], results: dict, images: int, title: str) -> None:
    """Print the table; refuse a slow or a different result."""
    print(f"{title}, {torch.get_num_threads()} threads, {images} image(s)")
    print(f"{'way':<24}{'s per image':>14}")
    for name, seconds in best.items():
        print(f"{name:<24}{seconds / images:>14.3f}")
    batched, alone = results["windows in batches"].windows, results["windows one by one"]
    counts = [windows.shape[1] for windows in batched]
    difference = max(
        (ours - theirs).abs().max().item() for ours, theirs in zip(batched, alone, strict=True)
    )
    ratio = best["windows one by one"] / best["windows in batches"]
    print(f"windows per image {counts}; ratio {ratio:.2f}; largest difference {difference:.2e}")
    if ratio < LEAST_RATIO or difference >= LARGEST_DIFFERENCE:
        raise SystemExit(f"expected a ratio of {LEAST_RATIO} and less than {LARGEST_DIFFERENCE}")


if __name__ == "__main__":
    main()
