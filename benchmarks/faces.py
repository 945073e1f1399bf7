"""Generated and manipulated faces with the packaged tower: strategies, robustness, localisation.

    python benchmarks/faces.py --data DIR [--parts generated forged ...] [--output DIR]

DIR (or the environment variable CLAD_BENCHMARK_DATA) holds `faces/real_vs_stylegan2`
({train,test}/{real,fake}), `faces/identities` (person_NNN/NN.jpg and landmarks.csv) and
`weights/mobilefacenet_068.ckpt`. Parts:

* generated: every adaptation strategy on one tower, beside a logistic regression by scikit-learn on
  the pooled statistics of the same tower;
* robustness: the best of them on degraded test images;
* forged: trained on self-blended images of real people alone, tested on landmark swaps and part
  swaps of other people; then the matrix of models that learned one manipulation each;
* face2text: RepDFD's border with MobileFaceNet's pseudo-word against fixed sentences, paired.

A run that lies finished in `--output` is read back, not trained again, and then has no seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pooled_statistics import logistic_regression

from clad.cli.config_files import find_config, find_recipe
from clad.cli.demo import expect_packages
from clad.cli.main import main as clad
from clad.cli.run_folders import last_checkpoint
from clad.cli.session import Session, open_session
from clad.cli.stages import evaluate_test, train
from clad.data.degraded import draw_samples
from clad.metrics.bootstrap import bootstrap_intervals
from clad.metrics.collector import CollectedPredictions
from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.average_precision import average_precision
from clad.metrics.functional.eer import equal_error_rate
from clad.metrics.paired import paired_difference
from clad.protocols.matrix import auroc_by_kind
from clad.protocols.robustness import measure_robustness
from clad.reports.robustness import to_text, write_robustness

CLAIM = "Strategies on generated and manipulated faces, beside a plain classifier"
PEER = "logistic regression by scikit-learn"
NEEDS = ("offline", "data")

_PARTS = ("generated", "robustness", "forged", "face2text")
_SWAPS = ("landmark_swap", "part_swap")
_BEST = "covariances"
_HEAD = "--model.head.init_args"
_AS_THEY_ARE = "--data.augmentation=[]"


class Strategy(NamedTuple):
    """A row of the table.

    Args:
        label: Its name there.
        recipe: File of configs/recipes.
        words: Options beside it.
        cached: Whether the tower rests, so that each image is encoded once.
    """

    label: str
    recipe: str
    words: tuple[str, ...] = ()
    cached: bool = True


_STRATEGIES = (
    Strategy("linear, image vector", "faces_linear_probe", (f"{_HEAD}.sees=summary",)),
    Strategy("linear, statistics", "faces_linear_probe"),
    Strategy("linear, covariances", "faces_generated"),
    Strategy("prompt tuning (CoOp)", "faces_prompt_tuning"),
    Strategy("CLIP-Adapter", "faces_adapter"),
    Strategy("border (RepDFD)", "faces_border", cached=False),
    Strategy("SVD residual (Effort)", "faces_svd_residual", cached=False),
)


class Bench:
    """Trains and tests recipes, or reads back what lies finished.

    Args:
        data: Folder of the data.
        output: Where runs are kept.
    """

    def __init__(self, data: Path, output: Path) -> None:
        self.data = data
        self.output = output

    def run(
        self, label: str, recipe: str, root: Path, words: Sequence[str] = (), cached: bool = False
    ) -> tuple[Session, float]:
        """A recipe, trained and tested by the command line's functions, and its seconds."""
        began = time.perf_counter()
        place = self.output / "".join(c if c.isalnum() else "_" for c in label)
        files = [find_recipe(f"{recipe}.yaml")]
        given = [f"--trainer.default_root_dir={place}", f"--data.root={root}", *words]
        if cached:
            files.append(find_config("feature_cache", "exact.yaml"))
            given += [f"--model.feature_cache.folder={self.output / 'features'}", _AS_THEY_ARE]
        given = [*(f"--config={path}" for path in files), *given]
        if last_checkpoint(place).is_file():
            session = open_session("test", [*given, f"--ckpt_path={place}"], "clad test")
            evaluate_test(session)
            return session, float("nan")
        session = open_session("fit", given, "clad fit")
        train(session)
        evaluate_test(session)
        return session, time.perf_counter() - began


def _collected(session: Session) -> CollectedPredictions:
    assert session.task.collected is not None
    return session.task.collected


def _learning(session: Session) -> int:
    return sum(p.numel() for p in session.task.parameters() if p.requires_grad)


def generated(bench: Bench) -> None:
    """The strategies side by side on photographs against StyleGAN2."""
    root = bench.data / "faces" / "real_vs_stylegan2"
    print("\nFFHQ photographs against StyleGAN2 (faces/real_vs_stylegan2), packaged tower")
    print(f"{'strategy':28}   AUC (95 % interval)      AP    EER    learns       s")
    began = time.perf_counter()
    place = bench.output / "logistic_regression"
    scores, labels = logistic_regression(root, place)
    _row("scikit-learn, statistics", scores, labels, 0, time.perf_counter() - began)
    for each in _STRATEGIES:
        session, seconds = bench.run(each.label, each.recipe, root, each.words, each.cached)
        found = _collected(session)
        _row(each.label, found.scores, found.labels, _learning(session), seconds)


def _row(label: str, scores: np.ndarray, labels: np.ndarray, learns: int, seconds: float) -> None:
    low, high = _interval(scores, labels)
    print(
        f"{label:28} {auroc(scores, labels):.3f} ({low:.3f} to {high:.3f})   "
        f"{average_precision(scores, labels):.3f}  {equal_error_rate(scores, labels):.3f}"
        f"{learns:10,}{seconds:8.0f}",
        flush=True,
    )


def _interval(
    scores: np.ndarray, labels: np.ndarray, groups: Sequence[str | None] | None = None
) -> tuple[float, float]:
    """95 % bootstrap interval of AUROC; by person where groups are given."""
    found = bootstrap_intervals(scores, labels, ["face"] * len(labels), groups=groups)
    return found.mean["image_auroc"]


def robustness(bench: Bench) -> None:
    """The curve of the best strategy."""
    root = bench.data / "faces" / "real_vs_stylegan2"
    best = next(each for each in _STRATEGIES if _BEST in each.label)
    session, _ = bench.run(best.label, best.recipe, root, best.words, best.cached)
    samples = draw_samples(session.data.splits.test, 60, 0)
    rows = measure_robustness(session.task, samples, session.data.image_size)
    print(f"\n{best.label} on degraded test images ({len(samples)} of them)\n{to_text(rows)}")
    facts = {"strategy": best.label, "num_images": len(samples)}
    print(f"curve: {write_robustness(bench.output, rows, facts)}")


def forged(bench: Bench) -> None:
    """Self-blended images alone, then one manipulation each, against swaps of other people."""
    root = bench.output / "forged_faces"
    if not (root / "people.csv").is_file():
        source = bench.data / "faces" / "identities"
        configs = [str(find_config("forgery", f"{kind}.yaml")) for kind in _SWAPS]
        words = ["forge", str(source), f"--output={root}", "--per-person=4", "--config", *configs]
        if clad(words):
            raise SystemExit("clad forge failed")
    session, seconds = bench.run("self blended alone", "deepfake", root)
    found = _collected(session)
    evaluation = session.task.evaluation
    assert evaluation is not None
    print("\ntrained on self-blended images alone, tested on swaps of other people")
    print(f"{'against real faces':28}  image AUC (95 % interval by person)")
    for kind, rows in _by_kind(found).items():
        scores, labels = found.scores[rows], found.labels[rows]
        low, high = _interval(scores, labels, [found.groups[row] for row in rows])
        print(f"{kind:28}  {auroc(scores, labels):.3f} ({low:.3f} to {high:.3f})")
    print(
        f"pixel AUROC {evaluation.mean['pixel_auroc']:.3f}, trained and tested in {seconds:.0f} s"
    )
    _matrix(bench, root, found)


def _by_kind(found: CollectedPredictions) -> dict[str, np.ndarray]:
    kinds = np.asarray(found.defect_types)
    real = found.labels == 0
    rows = {kind: np.flatnonzero(real | (kinds == kind)) for kind in _SWAPS}
    return {**rows, "both": np.arange(len(kinds))}


def _matrix(bench: Bench, root: Path, synthesis: CollectedPredictions) -> None:
    """AUROC of models that learned one manipulation each, from stored forgeries."""
    found = {"self-blended": synthesis}
    for kind in _SWAPS:
        words = [
            "--data.source.init_args.train_on_fakes=true",
            f"--data.train_kinds=[{kind}]",
            "--data.synthesis=null",
            "--data.paired_synthesis=false",
            "--data.anomaly_share=0.5",
            "--trainer.max_steps=60",
            "--model.scheduler.init_args.total_steps=60",
        ]
        found[kind] = _collected(bench.run(f"learned {kind}", "deepfake", root, words)[0])
    print(f"\n{'image AUC, learned':20}" + "".join(f"{kind:>15}" for kind in _SWAPS))
    for learned, each in found.items():
        values = auroc_by_kind(each.scores, each.labels, each.defect_types, each.categories, _SWAPS)
        print(f"{learned:20}" + "".join(f"{value:15.3f}" for value in values))


def face2text(bench: Bench) -> None:
    """The same border with the face as a word, and with fixed sentences."""
    root = bench.data / "faces" / "real_vs_stylegan2"
    weights = bench.data / "weights" / "mobilefacenet_068.ckpt"
    fixed = _collected(bench.run("border (RepDFD)", "faces_border", root)[0])
    encoder = {
        "class_path": "clad.face_encoders.mobile_face_net.MobileFaceNet",
        "init_args": {"weights": str(weights)},
    }
    words = [
        f"--model.prompts.init_args.encoder={json.dumps(encoder)}",
        "--model.prompts.init_args.fake=T3",
        "--model.prompts.init_args.length=1.0",
    ]
    faces = _collected(bench.run("border, Face2Text", "faces_border", root, words)[0])
    if fixed.paths != faces.paths:
        raise SystemExit("expected the same test images in both runs")
    names = ["face"] * len(faces.paths)
    difference = paired_difference(faces.scores, fixed.scores, faces.labels, names)
    print("\nRepDFD's border, sentences {T0, T1} against {T0, T3 with MobileFaceNet}")
    for label, each in (("fixed sentences", fixed), ("Face2Text", faces)):
        low, high = _interval(each.scores, each.labels)
        value = auroc(each.scores, each.labels)
        print(f"{label:28}  {value:.3f} ({low:.3f} to {high:.3f})")
    low, high = difference.interval
    print(
        f"{'difference, paired':28} {difference.value:+.3f} ({low:+.3f} to {high:+.3f}), "
        f"p = {difference.p_value:.2f}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="faces with the packaged tower")
    parser.add_argument("--data", type=Path, default=os.environ.get("CLAD_BENCHMARK_DATA"))
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--output", type=Path, help="where the runs are kept")
    wanted = parser.parse_args()
    if wanted.data is None:
        parser.error("expected --data DIR or CLAD_BENCHMARK_DATA, got neither")
    expect_packages()
    output = wanted.output or Path(tempfile.mkdtemp(prefix="faces_"))
    bench = Bench(wanted.data.resolve(), output)
    parts: dict[str, Callable[[Bench], None]] = {
        "generated": generated,
        "robustness": robustness,
        "forged": forged,
        "face2text": face2text,
    }
    began = time.perf_counter()
    for name in wanted.parts:
        parts[name](bench)
    print(f"\n{(time.perf_counter() - began) / 60:.0f} minutes; runs: {output}")


if __name__ == "__main__":
    main()
