"""What each verb of the trainer does, from its first image to the last line it prints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clad.cli.calibration_lines import calibration_lines
from clad.cli.callbacks import KeepPredictions
from clad.cli.errors import UsageError
from clad.cli.predictions import MAPS, SCORES, PredictionWriter
from clad.cli.profile import earlier_profiles, profiled
from clad.cli.run_folders import CONFIG, last_checkpoint
from clad.cli.session import Session
from clad.data.images import ImageArray, decode_image, resize_image
from clad.metrics.evaluate import Evaluation
from clad.reports.face_tables import face_lines
from clad.reports.files import read_json, write_json
from clad.reports.run_card import run_card
from clad.reports.run_directory import CARD, DATA, METRICS, write_test_results
from clad.reports.tables import format_fraction, metrics_table, to_text
from clad.stopwatch import WRITE

HEADLINES = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_aupro")
"""Columns of the table on the terminal; ``metrics.json`` and the report have all."""


def fit(session: Session) -> None:
    """Train, then print where the weights are and what to type next."""
    checkpoint = train(session)
    if checkpoint is None:
        return
    config = session.run_dir / CONFIG
    _tell(session, f"checkpoint: {checkpoint}")
    _tell(session, f"next: clad test --config {config} --ckpt_path {checkpoint}")


@profiled("fit")
def train(session: Session) -> Path | None:
    """The checkpoint of a finished training; None where nothing is kept (fast_dev_run).

    Raises:
        UsageError: If the run directory holds another training's weights.
    """
    checkpoint = last_checkpoint(session.run_dir)
    resumed = session.cli.checkpoint
    if checkpoint.is_file() and resumed is None:
        raise UsageError(
            f"expected a run directory without weights, found {checkpoint}; choose another with "
            "--trainer.default_root_dir, or continue that training with --ckpt_path last"
        )
    trainer = session.trainer
    session.timed(
        "fit",
        lambda: trainer.fit(session.task, datamodule=session.data, **_weights(session)),
    )
    if trainer.fast_dev_run or not trainer.checkpoint_callbacks:
        _tell(session, "no checkpoint is kept (fast_dev_run or enable_checkpointing)")
        return None
    # Also written after each epoch; this one is for recipes that train for none.
    trainer.save_checkpoint(checkpoint, weights_only=False)
    if trainer.is_global_zero:
        write_json(session.run_dir / CARD, _card(session))
        write_json(session.run_dir / DATA, session.data.fingerprint())
    return checkpoint


def test(session: Session) -> None:
    """Test, write the run directory, print the table and what to type next."""
    evaluate_test(session)
    _tell(session, f"results: {session.run_dir}")
    _tell(session, f"next: clad report {session.run_dir}")


@profiled("test")
def evaluate_test(session: Session) -> Evaluation | None:
    """Metrics of the test images, written and printed; None in processes that hold no results."""
    task = session.task
    session.timed(
        "test",
        lambda: session.trainer.test(
            task, datamodule=session.data, verbose=False, **_weights(session)
        ),
    )
    if not session.trainer.is_global_zero:
        return None
    assert task.collected is not None
    assert task.evaluation is not None
    with task.watch(WRITE):
        write_test_results(
            session.run_dir,
            task.collected,
            task.evaluation,
            thresholds=task.thresholds,
            threshold_source=task.threshold_source,
            calibrations=task.thresholds_fitted.calibrations,
            card=_card(session),
            data=session.data.fingerprint(),
            load_image=load_image,
        )
    _print_table(session, task.evaluation)
    for level, naming in task.naming.items():
        print(f"words of the {level}: {naming}")
    return task.evaluation


@profiled("validate")
def validate(session: Session) -> None:
    """Metrics of the validation images, printed and kept under ``validation``."""

    def work() -> None:
        if not session.data.splits.validation:
            raise UsageError(
                f"expected validation images, got none from {session.data.source.name}; "
                "hold some out (configs/data/), or use `clad test`"
            )
        session.trainer.validate(
            session.task, datamodule=session.data, verbose=False, **_weights(session)
        )

    session.timed("validate", work)
    evaluation = session.task.evaluation
    if session.trainer.is_global_zero and evaluation is not None:
        path = session.run_dir / METRICS
        others = read_json(path) if path.exists() else {}
        write_json(session.run_dir / CARD, _card(session))
        write_json(path, {**others, "validation": evaluation.to_json()})
        _print_table(session, evaluation)
        _tell(session, f"results: {session.run_dir}")


@profiled("predict")
def predict(session: Session) -> None:
    """Scores and pictures of images in ``predictions/`` of the run directory."""
    folder = session.run_dir / "predictions"
    writer = PredictionWriter(folder)
    session.trainer.callbacks.append(KeepPredictions(writer))
    session.timed(
        "predict",
        lambda: session.trainer.predict(
            session.task,
            datamodule=session.data,
            return_predictions=False,
            **_weights(session),
        ),
    )
    with session.task.watch(WRITE):
        fitted = session.task.thresholds_fitted
        written = writer.finish(session.task.thresholds, fitted.standing)
        if session.trainer.is_global_zero:
            write_json(session.run_dir / CARD, _card(session))
    _tell(session, f"threshold: {session.task.threshold_source}")
    _tell(session, f"calibration: {fitted.calibration_source}")
    called = "" if written.num_called is None else f", {written.num_called} called anomalous"
    _tell(session, f"{written.num_images} images{called}")
    _tell(session, f"scores: {folder / SCORES}")
    if written.has_maps:
        _tell(session, f"maps: {folder / MAPS}")
    if written.first_words:
        counts = ", ".join(f"{kind} {count}" for kind, count in written.first_words.items())
        _tell(session, f"words: {counts} (kinds of defect named first, by number of images)")


STAGES: dict[str, Callable[[Session], None]] = {
    "fit": fit,
    "validate": validate,
    "test": test,
    "predict": predict,
}


def load_image(path: str, size: tuple[int, int]) -> ImageArray:
    """(height, width, 3) uint8 RGB of a file."""
    return resize_image(decode_image(Path(path)), size)


def _card(session: Session) -> dict[str, Any]:
    """The run card; in the directory of an earlier stage, that stage's seconds stay."""
    path = session.run_dir / CARD
    earlier = read_json(path) if path.is_file() else {}
    seed = session.cli.config.seed_everything
    card = run_card(
        recipe=session.cli.recipe,
        command=session.command,
        seed=None if seed is False else int(seed),
        started=session.cli.started,
        seconds={**earlier.get("seconds", {}), **session.seconds},
        checkpoint=session.cli.checkpoint,
    )
    counts = {part: asdict(count) for part, count in session.task.parameter_counts.items()}
    profiles = earlier_profiles(earlier, session.seconds)
    return {**card, "parameters": counts, **profiles, **session.facts}


def _print_table(session: Session, evaluation: Evaluation) -> None:
    defined = [m for m in HEADLINES if evaluation.left_out[m] < len(evaluation.per_category)]
    if defined:
        print(to_text(metrics_table(evaluation, defined)))
    for line in face_lines(evaluation):
        print(line)
    for sentence in evaluation.undefined:
        print(f"undefined: {sentence}")
    at_threshold = [
        f"{name} {format_fraction(value)}"
        for name, metric in (("recall", "image_recall"), ("false alarms", "image_false_alarm_rate"))
        if not math.isnan(value := evaluation.mean.get(metric, math.nan))
    ]
    result = f"; mean {', mean '.join(at_threshold)}" if at_threshold else ""
    print(f"threshold: {session.task.threshold_source}{result}")
    for line in calibration_lines(evaluation, session.task.thresholds_fitted):
        print(line)


def _tell(session: Session, sentence: str) -> None:
    if session.trainer.is_global_zero:
        print(sentence)


def _weights(session: Session) -> dict[str, Any]:
    """Where the trainer reads weights from; never code, which a pickle could hold."""
    checkpoint = session.cli.checkpoint
    if checkpoint is not None:
        _tell(session, f"weights: {checkpoint}")
    return {"ckpt_path": None if checkpoint is None else str(checkpoint), "weights_only": True}
