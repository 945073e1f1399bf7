"""Peak memory of testing many images, beside exact metrics on stored maps.

    python benchmarks/memory.py [--images 2000] [--side 512] [--rounds 1] [--anomalib]

Each way runs in a process of its own, on the same maps, which are made as they are asked for. Ours
is what `clad test` does between a head and the report. Beside it all maps and masks are kept, and
the exact metrics are taken from one sort. "own MiB" is the peak less what the process held before
the first image, with Python, torch and everything else imported. With --anomalib, its AUROC and
AUPRO on an eighth of the images (they take minutes), without a claim.

Both ways give large arrays back to the system when they drop them (`made_up_maps.ALLOCATOR`).
Stored maps take about 16 bytes per pixel at their peak: 8 GB for 2,000 images of 512 x 512.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

from child import Child, run_function
from harness import Claim, Measured, add_arguments, alternate, main_guard, report
from made_up_maps import ALLOCATOR

CLAIM = "testing takes at least 10 times less memory than stored maps, however many images"
PEER = "exact metrics on stored maps"
NEEDS = ()

AT_LEAST, LARGEST_GROWTH, LARGEST_DIFFERENCE = 10.0, 1.1, 1e-5
_METRICS = ("pixel_auroc", "pixel_aupro")


def main() -> int:
    """Print the table; 1 if a claim is missed."""
    parser = argparse.ArgumentParser(description=CLAIM)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512, help="of the maps, in pixels")
    parser.add_argument("--anomalib", action="store_true", help="its metrics, on fewer images")
    add_arguments(parser, rounds=1)
    wanted = parser.parse_args()
    few = max(8, wanted.images // 4)
    own: dict[str, list[float]] = {}

    def way(name: str, number: int) -> tuple[str, Callable[[], Child]]:
        title = f"{'clad' if name == 'ours' else name}, {number:,} images"

        def work() -> Child:
            child = run_function(
                f"made_up_maps:{name}", ALLOCATOR, num_images=number, side=wanted.side
            )
            own.setdefault(title, []).append(float(child.values["own_mib"]))
            return child

        return title, work

    ways = [way("stored", wanted.images), way("ours", wanted.images)]
    ways += [way("stored", few), way("ours", few)]
    packages = ["numpy", "torch"]
    if wanted.anomalib:
        ways += [way("anomalib", max(8, wanted.images // 8))]
        packages.append("anomalib")
    found = alternate(wanted.rounds, dict(ways))
    peer, ours, _, fewer = (statistics.median(own[title]) for title, _ in ways[:4])
    claims = [
        Claim("own memory, stored maps over clad", peer / ours, at_least=AT_LEAST),
        Claim(f"own memory, {wanted.images:,} over {few:,}", ours / fewer, at_most=LARGEST_GROWTH),
        Claim(
            "largest difference of a metric",
            difference(found[ways[0][0]], found[ways[1][0]]),
            at_most=LARGEST_DIFFERENCE,
            unit="",
        ),
    ]
    return report(CLAIM, found.values(), claims, packages=packages, wanted=wanted)


def difference(exact: Measured, ours: Measured) -> float:
    """Largest distance of a metric from its exact value."""
    return max(abs(float(exact.values[n]) - float(ours.values[n])) for n in _METRICS)


if __name__ == "__main__":
    main_guard(main)
