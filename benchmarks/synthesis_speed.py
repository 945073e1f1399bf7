"""CPU milliseconds per 256 x 256 image of every generator.

Run with `python benchmarks/synthesis_speed.py`; images come with scikit-image.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import jsonargparse
import numpy as np
import yaml
from skimage import data

from clad.synthesis.base import Synthesizer

CLAIM = "Milliseconds per image of every generator of defects"
PEER = ""
NEEDS = ()

CONFIGS = Path(__file__).parents[1] / "configs" / "synthesis"
REPEATS = 150


def load(path: Path) -> Synthesizer:
    """The generator that a YAML describes."""
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--synthesis", type=Synthesizer)
    settings = yaml.safe_load(path.read_text())["data"]["synthesis"]
    return parser.instantiate_classes(parser.parse_object({"synthesis": settings})).synthesis


def main() -> None:
    """Print median and 95th percentile per generator."""
    cv2.setNumThreads(1)
    names = ("astronaut", "coffee", "chelsea")
    images = [cv2.resize(getattr(data, name)(), (256, 256)) for name in names]
    print(f"{'generator':<20}{'median CPU ms':>16}{'p95':>8}{'mask share':>12}")
    for path in sorted(CONFIGS.glob("*.yaml")):
        generator, rng = load(path), np.random.default_rng(0)
        times, shares = [], []
        for index in range(REPEATS):
            start = time.process_time()
            _, mask = generator(images[index % len(images)], rng)
            times.append(1e3 * (time.process_time() - start))
            shares.append(mask.mean())
        median, high = np.percentile(times, (50, 95))
        print(f"{path.stem:<20}{median:>16.2f}{high:>8.2f}{np.median(shares):>12.4f}")


if __name__ == "__main__":
    main()
