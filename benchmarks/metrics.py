"""Pixel metrics of one category, beside anomalib's AUPRO alone.

    python benchmarks/metrics.py [--sides 256 518] [--images 84] [--batch 32] [--rounds 5]

Each way is updated batch by batch and computed once, in one thread; maps and masks are in memory
before. Claimed is time of the processor, which other work on the machine changes little. Ours
takes AUROC, AP, F1-max, AUPRO, EER and false alarms at 95 % recall, all of them; rows below say
what other numbers of bins, maps that come one by one and the exact metrics cost. "state kB" is what
a way keeps between batches; differences are those from the exact metrics in float64.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from harness import Claim, Measured, add_arguments, alternate, main_guard, ratio, report
from numpy.typing import NDArray

from clad.metrics.functional.aupro import aupro_of, region_weights
from clad.metrics.functional.auroc import auroc_of
from clad.metrics.functional.average_precision import average_precision_of
from clad.metrics.functional.eer import equal_error_rate_of, false_alarms_at_recall_of
from clad.metrics.functional.f1_max import f1_max_of
from clad.metrics.functional.ranking import rank
from clad.metrics.histogram import NUM_BINS
from clad.metrics.pixel_state import PIXEL_METRICS, PixelState

CLAIM = "all pixel metrics at least 40 times (518 pixels: 60 times) faster than AUPRO alone"
PEER = "anomalib"
NEEDS = ("anomalib",)

AT_LEAST = {256: 40.0, 518: 60.0}
LEAST_STATE, LARGEST_DIFFERENCE = 100.0, 1e-5
AREAS = ("pixel_auroc", "pixel_ap", "pixel_aupro")

Data = tuple[NDArray[np.float32], NDArray[np.bool_]]
Values = dict[str, float]
Way = Callable[[], Values]


def main() -> int:
    """Print the table; 1 if a claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 518], help="of the maps")
    parser.add_argument("--images", type=int, default=84, help="a third of them normal")
    parser.add_argument("--batch", type=int, default=32, help="maps per update")
    parser.add_argument("--bins", type=int, nargs="*", default=[2048, 4096, 16_384, 65_536])
    add_arguments(parser)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows: list[Measured] = []
    claims: list[Claim] = []
    for side in wanted.sides:
        data = made_up(wanted.images, side)
        found = alternate(wanted.rounds, ways(data, side, wanted.batch))
        more = alternate(wanted.rounds, other_ways(data, side, wanted.batch, wanted.bins))
        rows += [*found.values(), *more.values()]
        claims += claims_of(side, *found.values())
    columns = ["state kB", "AUPRO", "off: areas", "off: F1, EER, alarms"]
    packages = ["numpy", "torch", "anomalib", "opencv-python-headless"]
    return report(CLAIM, rows, claims, columns, packages=packages, wanted=wanted)


def claims_of(side: int, peer: Measured, ours: Measured) -> list[Claim]:
    """What the issue asks of a size; of other sizes the same numbers without a claim."""
    is_claimed = side in AT_LEAST
    state, theirs = (float(each.values["state kB"]) for each in (ours, peer))
    apart = abs(float(ours.values["AUPRO"]) - float(peer.values["AUPRO"]))
    return [
        Claim(
            f"time at {side}, anomalib over clad",
            ratio(peer, ours, of="cpu_seconds"),
            at_least=AT_LEAST.get(side),
        ),
        Claim(f"time by the clock at {side}, anomalib over clad", ratio(peer, ours)),
        Claim(
            f"state at {side}, anomalib over clad",
            theirs / state,
            at_least=LEAST_STATE if is_claimed else None,
        ),
        Claim(
            f"AUPRO at {side}, clad from anomalib",
            apart,
            at_most=LARGEST_DIFFERENCE if is_claimed else None,
            unit="",
        ),
        Claim(
            f"AUROC, AP and AUPRO at {side}, clad from the exact ones",
            float(ours.values["off: areas"]),
            at_most=LARGEST_DIFFERENCE if is_claimed else None,
            unit="",
        ),
    ]


def made_up(num_images: int, side: int) -> Data:
    """Blurred noise, a third of the images normal, one to three boxes of higher score in others."""
    generator = np.random.default_rng(0)
    maps = np.empty((num_images, side, side), np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    for number, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        noise = generator.standard_normal((side, side), dtype=np.float32)
        values[:] = 20 * cv2.GaussianBlur(noise, None, 4)
        for _ in range(generator.integers(1, 4) if number % 3 else 0):
            top, left = generator.integers(0, side * 5 // 6, 2)
            height, width = generator.integers(side // 50, side // 6, 2)
            mask[top : top + height, left : left + width] = True
        values[mask] += 1
    return 1 / (1 + np.exp(-maps)), masks


def ways(data: Data, side: int, batch: int) -> dict[str, Way]:
    """The peer and ours, after a short warm-up of both."""
    exact = exact_values(data)
    few = (data[0][:4], data[1][:4])
    for warm_up in (anomalib_aupro, clad_state):
        warm_up(few, 2, exact)
    return {
        f"anomalib AUPRO, {side}": lambda: anomalib_aupro(data, batch, exact),
        f"clad, all metrics, {side}": lambda: clad_state(data, batch, exact),
    }


def other_ways(data: Data, side: int, batch: int, bins: list[int]) -> dict[str, Way]:
    """What else there is."""
    exact = exact_values(data)
    found: dict[str, Way] = {
        f"  batches of 12, {side}": lambda: clad_state(data, 12, exact),
        f"  map by map, {side}": lambda: clad_state(data, 1, exact),
        f"  exact, maps stored, {side}": lambda: exact_state(data),
    }
    for number in bins:
        found[f"  {number:,} bins, {side}"] = lambda n=number: clad_state(data, batch, exact, n)
    return found


def batches(data: Data, size: int) -> Iterator[Data]:
    """Maps and masks in their order."""
    for start in range(0, len(data[0]), size):
        yield data[0][start : start + size], data[1][start : start + size]


def anomalib_aupro(data: Data, batch: int, exact: Values) -> Values:
    """Its tensors, kept until the one sort; masks are bool, as its data sets give them."""
    from anomalib.metrics.aupro import _AUPRO

    metric = _AUPRO()
    for maps, masks in batches(data, batch):
        metric.update(torch.from_numpy(maps), torch.from_numpy(masks))
    kept = [*metric.preds, *metric.target]
    value = float(metric.compute())
    return {
        "state kB": sum(each.numel() * each.element_size() for each in kept) / 1000,
        "AUPRO": value,
        "off: areas": abs(value - exact["pixel_aupro"]),
    }


def clad_state(data: Data, batch: int, exact: Values, num_bins: int = NUM_BINS) -> Values:
    """Six metrics from one state."""
    state = PixelState(num_bins)
    for maps, masks in batches(data, batch):
        state.update(maps, masks)
    values, _ = state.metrics()
    off = {name: abs(values[name] - exact[name]) for name in PIXEL_METRICS}
    return {
        "state kB": state.num_bytes / 1000,
        "AUPRO": values["pixel_aupro"],
        "off: areas": max(off[name] for name in AREAS),
        "off: F1, EER, alarms": max(off[name] for name in off if name not in AREAS),
    }


def exact_state(data: Data) -> Values:
    """The exact metrics on all maps at once."""
    return {
        "state kB": sum(each.nbytes for each in data) / 1000,
        "AUPRO": exact_values(data)["pixel_aupro"],
    }


def exact_values(data: Data) -> Values:
    """Every metric of ``PIXEL_METRICS`` from a sort of all pixels."""
    maps, masks = data
    ranking = rank(maps, masks)
    values = (
        auroc_of(ranking),
        average_precision_of(ranking),
        f1_max_of(ranking),
        aupro_of(ranking, region_weights(masks)),
        equal_error_rate_of(ranking),
        false_alarms_at_recall_of(ranking),
    )
    return dict(zip(PIXEL_METRICS, values, strict=True))


if __name__ == "__main__":
    main_guard(main)
