"""``--profile``: where the seconds of a stage went, printed and kept in ``run.json``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from lightning.pytorch.profilers import PassThroughProfiler, Profiler

from clad.cli.errors import UsageError
from clad.data.clock import LoadingClock
from clad.reports.files import read_json, write_json
from clad.reports.run_directory import CARD
from clad.reports.tables import align_columns
from clad.stopwatch import (
    BACKWARD,
    DECODE,
    ENCODE,
    HEAD,
    LOSSES,
    METRICS,
    OPTIMISER,
    OTHER,
    TRANSFER,
    WAIT,
    WORDS,
    WRITE,
    Stopwatch,
    unwatched,
)

if TYPE_CHECKING:
    from clad.cli.session import Session

PROFILE = "profile"
"""The option, and the key of the run card."""

_ORDER = (
    DECODE, WAIT, TRANSFER, ENCODE, WORDS, LOSSES, BACKWARD, OPTIMISER, HEAD, METRICS, WRITE, OTHER,
)  # fmt: skip

_ACTION = re.compile(r"(?:\[(?:Strategy|LightningModule)\]\w+\.)?(\w+)")
_ROW_OF_ACTION = {
    "batch_to_device": TRANSFER,
    "training_step": LOSSES,  # less encoder and words, which are contexts within
    "backward": BACKWARD,
    "optimizer_step": OPTIMISER,
    "on_validation_epoch_start": HEAD,
    "on_train_epoch_end": HEAD,
    "on_train_end": HEAD,
    "save_checkpoint": WRITE,
}
_WAITS_FOR = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}
_Found = TypeVar("_Found")


def profiled(
    stage: str,
) -> Callable[[Callable[[Session], _Found]], Callable[[Session], _Found]]:
    """Decorator of a stage: with ``--profile``, its seconds are printed and kept.

    Args:
        stage: ``fit``, ``validate``, ``test`` or ``predict``.
    """

    def decorate(work: Callable[[Session], _Found]) -> Callable[[Session], _Found]:
        @wraps(work)
        def run(session: Session) -> _Found:
            if not session.cli.config.get(PROFILE):
                return work(session)
            with _watching(session) as clock:
                clock.watch.start()
                found = work(session)
                clock.watch.stop()
            facts = _facts(clock)
            if session.trainer.is_global_zero:
                print(profile_text(stage, facts))
                _keep(session, stage, facts)
            return found

        return run

    return decorate


def profile_text(stage: str, facts: Mapping[str, Any]) -> str:
    """Rows with seconds and shares, which add up, and what went by beside them.

    Args:
        stage: For the title.
        facts: What ``run.json`` keeps of the stage.
    """
    seconds, total = facts["seconds"], facts["total"]
    cells = [[f"seconds of {stage}", "s", "share"]]
    cells += [[row, f"{took:.2f}", f"{took / total:.1%}"] for row, took in seconds.items()]
    cells.append(["total", f"{total:.2f}", ""])
    lines = align_columns(cells)
    rule = "-" * len(lines[0])
    lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    if facts["num_workers"]:
        processes = "process" if facts["num_workers"] == 1 else "processes"
        lines.append(
            f"{DECODE}, in {facts['num_workers']} loader {processes} beside all this: "
            f"{facts['decode_beside']:.2f} s in sum"
        )
    return "\n".join(lines)


def earlier_profiles(card: Mapping[str, Any], stages: Mapping[str, float]) -> dict[str, Any]:
    """What a new run card keeps: the profiles of stages that were not run again."""
    kept = {stage: facts for stage, facts in card.get(PROFILE, {}).items() if stage not in stages}
    return {PROFILE: kept} if kept else {}


class _TrainerProfiler(Profiler):
    """Hands what the trainer says of its own steps to a stopwatch."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self.watch = watch

    def start(self, action_name: str) -> None:
        row = _row_of(action_name)
        if row is not None:
            self.watch.enter(row)

    def stop(self, action_name: str) -> None:
        if _row_of(action_name) is not None:
            self.watch.leave()


def _row_of(action: str) -> str | None:
    found = _ACTION.fullmatch(action)
    return None if found is None else _ROW_OF_ACTION.get(found[1])


@contextmanager
def _watching(session: Session) -> Iterator[LoadingClock]:
    """Context in which task, data and trainer tell one stopwatch what they do."""
    task, data, trainer = session.task, session.data, session.trainer
    if not isinstance(trainer.profiler, PassThroughProfiler):
        raise UsageError(
            f"expected one profiler, got --{PROFILE} and trainer.profiler "
            f"{type(trainer.profiler).__name__}; leave one of them out"
        )
    before = trainer.profiler
    watch = Stopwatch(_WAITS_FOR.get(trainer.strategy.root_device.type))
    clock = LoadingClock(watch)
    task.watch, data.clock, trainer.profiler = watch, clock, _TrainerProfiler(watch)
    try:
        yield clock
    finally:
        task.watch, data.clock, trainer.profiler = unwatched, None, before


def _facts(clock: LoadingClock) -> dict[str, Any]:
    found = clock.watch.seconds
    return {
        "seconds": {row: round(found[row], 4) for row in _ORDER if row in found},
        "total": round(sum(found.values()), 4),
        "num_workers": clock.num_workers,
        "decode_beside": round(clock.seconds_beside, 4),
    }


def _keep(session: Session, stage: str, facts: Mapping[str, Any]) -> None:
    """Add the facts to the run card, where the stage has written one."""
    path = session.run_dir / CARD
    if path.is_file():
        card = read_json(path)
        write_json(path, {**card, PROFILE: {**card.get(PROFILE, {}), stage: facts}})
