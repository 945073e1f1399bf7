"""One model for parts and faces beside a model of each: what sharing costs or brings.

    python benchmarks/joint.py --data DIR [--steps 200] [--image-size 256] [--output DIR]

Recipe `joint_parts_and_faces` three times, with the same seed and number of steps: on both domains,
on the parts alone and on the faces alone. A single model sees its domain twice as often as the
joint one does. Parts are the solar cells of the package `elpv-dataset`, faces the folder
`faces/real_vs_stylegan2` of DIR (or DIR itself, if it holds `train/`), which CLAD_BENCHMARK_DATA
names, too. Both models of a domain are tested on the same images. Image AUROC is averaged over the
categories of a domain; intervals are 95 % bootstrap intervals over test images, and say nothing of
another seed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from clad.cli.demo import expect_packages, find_recipe
from clad.cli.session import open_session
from clad.cli.stages import evaluate_test, train
from clad.metrics.bootstrap import Interval, bootstrap_intervals
from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluate import evaluate

CLAIM = "One model for parts and faces beside a model of each"
PEER = "a model of each domain"
NEEDS = ("offline", "data")

_RECIPE = "joint_parts_and_faces.yaml"
_FACES = Path("faces", "real_vs_stylegan2")
_DOMAINS = {"parts": ("industrial", "[mono,poly]"), "faces": ("face", "[face]")}


class Result(NamedTuple):
    """Image AUROC of one model on one domain."""

    per_category: dict[str, float]
    mean: float
    interval: Interval
    counts: str


def run_model(words: list[str], output: Path) -> tuple[CollectedPredictions, float]:
    """Predictions for the test images, and seconds."""
    began = time.perf_counter()
    place = ["--trainer.default_root_dir", str(output)]
    session = open_session("fit", [*words, *place], "clad fit")
    train(session)
    evaluate_test(session)
    assert session.task.collected is not None
    return session.task.collected, time.perf_counter() - began


def result_on(collected: CollectedPredictions, domain: str) -> Result:
    """Image AUROC of the categories of a domain."""
    domain_of = collected.domain_of()
    names = [name for name in collected.category_names if domain_of[name] == domain]
    rows = [n for n, category in enumerate(collected.categories) if category in names]
    labels, scores = collected.labels[rows], collected.scores[rows]
    categories = [collected.categories[n] for n in rows]
    values = evaluate(collected).per_category
    aurocs = {name: values[name]["image_auroc"] for name in names}
    interval = bootstrap_intervals(scores, labels, categories).mean["image_auroc"]
    counts = f"{int((labels == 0).sum())} + {int((labels == 1).sum())}"
    return Result(aurocs, sum(aurocs.values()) / len(aurocs), interval, counts)


def main() -> None:
    """Train the three models and print the table."""
    parser = argparse.ArgumentParser(description="one model for parts and faces beside two")
    base = os.environ.get("CLAD_BENCHMARK_DATA")
    parser.add_argument("--data", type=Path, default=base, help="folder with the faces")
    parser.add_argument("--steps", type=int, default=200, help="training batches of each model")
    parser.add_argument("--image-size", type=int, default=256, help="side in pixels")
    parser.add_argument("--output", type=Path, help="where the three runs are kept")
    wanted = parser.parse_args()
    if wanted.data is None:
        parser.error("expected --data DIR or CLAD_BENCHMARK_DATA, got neither")
    expect_packages()
    output = wanted.output or Path(tempfile.mkdtemp(prefix="joint_"))
    faces = wanted.data if (wanted.data / "train").is_dir() else wanted.data / _FACES
    words = [
        "--config",
        str(find_recipe(_RECIPE)),
        f"--data.root={faces}",
        f"--trainer.max_steps={wanted.steps}",
        f"--model.scheduler.init_args.T_max={wanted.steps}",
        f"--data.image_size={wanted.image_size}",
        f"--model.tower.init_args.image_size={wanted.image_size}",
    ]
    joint, joint_seconds = run_model(words, output / "joint")
    seconds = {"joint": joint_seconds}
    table: list[tuple[str, Result, Result]] = []
    for name, (domain, categories) in _DOMAINS.items():
        alone, seconds[name] = run_model([*words, f"--data.categories={categories}"], output / name)
        in_joint, by_itself = result_on(joint, domain), result_on(alone, domain)
        assert in_joint.counts == by_itself.counts
        table.append((name, in_joint, by_itself))
    print(f"\n{'image AUROC':16}{'images':>13}{'joint model':>26}{'model of its own':>26}")
    for name, in_joint, by_itself in table:
        for category, value in in_joint.per_category.items():
            own = by_itself.per_category[category]
            print(f"  {category:27}{value:10.3f}{'':16}{own:10.3f}")
        cells = "".join(
            f"{each.mean:10.3f} ({each.interval.low:.3f} to {each.interval.high:.3f})".rjust(26)
            for each in (in_joint, by_itself)
        )
        print(f"{name:16}{in_joint.counts:>13}{cells}")
    print(", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items()))
    print(f"{wanted.steps} steps, {wanted.image_size} px, seed 42; runs: {output}")


if __name__ == "__main__":
    main()
