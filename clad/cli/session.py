"""From words to a trainer, a task and its data, with a run directory to write to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf.errors import OmegaConfBaseException

from clad.cli.callbacks import Bar, KeepConfiguration, TellProgress
from clad.cli.config_errors import Vocabulary, explain
from clad.cli.config_files import NAMELESS, named_files, recipe_name
from clad.cli.errors import InterruptedRunError, UsageError
from clad.cli.quiet import quieten
from clad.cli.run_folders import (
    CHECKPOINTS,
    LAST,
    RUNS,
    create_run_dir,
    find_checkpoint,
    last_checkpoint,
    remove_if_empty,
)
from clad.cli.seeds import HELP as SEEDS_HELP
from clad.data.datamodule import AnomalyDataModule
from clad.tasks.anomaly_task import AnomalyTask
from clad.version import __version__

SEED = 42
_LOSSES = "training"


class TrainerCLI(LightningCLI):
    """LightningCLI for one verb: parses, builds, and leaves running to ``clad.cli.stages``.

    Args:
        verb: For the name of the program and what a trainer for it keeps.
        arguments: Words after the verb.
        started: Names the run directory.
    """

    def __init__(self, verb: str, arguments: Sequence[str], started: datetime) -> None:
        self.verb = verb
        self.started = started
        self.recipe = recipe_name(named_files(arguments))
        self.checkpoint: Path | None = None
        super().__init__(
            AnomalyTask,
            AnomalyDataModule,
            save_config_callback=None,
            seed_everything_default=SEED,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=list(arguments),
            run=False,
        )

    def init_parser(self, **settings: object) -> LightningArgumentParser:
        """Parser in which ``${...}`` is resolved after all files are merged."""
        settings |= {
            "prog": f"clad {self.verb}",
            "description": None,
            "epilog": SEEDS_HELP if self.verb == "fit" else None,
            "parser_mode": "omegaconf+",
            "exit_on_error": False,
            "dump_header": [f"clad {__version__}, recipe {self.recipe}"],
        }
        return super().init_parser(**settings)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what belongs to the verb."""
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="Weights to continue from (fit) or to use: a file, a run directory, or `last` for "
            "the newest run of the recipe.",
        )
        parser.add_argument(
            "--profile",
            action="store_true",
            help="Print where the seconds went, and keep that in run.json.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Configuration of all files and options.

        Raises:
            UsageError: If a key, class, value or reference is wrong, with the alternatives.
        """
        try:
            self.config = parser.parse_args(args)
        except (ArgumentError, OmegaConfBaseException) as error:
            if self.recipe == NAMELESS and "is required" in str(error):
                raise UsageError(
                    "expected a recipe, got no --config; name one, such as "
                    "--config configs/recipes/clad_folder.yaml"
                ) from error
            options = [
                action.dest
                for action in parser._actions
                if action.dest not in ("help", "print_config") and ".help" not in action.dest
            ]
            groups = {"model": AnomalyTask, "data": AnomalyDataModule}
            words = Vocabulary(parser.prog, options, groups)
            raise UsageError(explain(str(error), words)) from error
        wanted = self.config.ckpt_path
        if wanted is not None:
            given = self.config.trainer.default_root_dir
            folder = None if given is None else Path(given)
            self.checkpoint = find_checkpoint(wanted, folder, self.recipe)

    def instantiate_trainer(self, **settings: object) -> Trainer:
        """Trainer that writes into the run directory, with what the command line adds."""
        chosen = self.config_init.trainer
        self.run_dir = self._choose_run_dir(chosen.default_root_dir)
        given = _as_list(chosen.callbacks)
        is_watched = chosen.enable_progress_bar
        if is_watched is None:
            is_watched = sys.stdout.isatty()
        bars: list[Callback] = [Bar()] if is_watched else []
        if any(isinstance(each, ProgressBar) for each in given):
            bars = []
        settings |= self._own_settings(is_watched)
        settings["callbacks"] = [*given, *bars, *self._own_callbacks(is_watched)]
        try:
            trainer: Trainer = super().instantiate_trainer(**settings)
        except Exception as error:
            self.take_back_run_dir()
            if isinstance(error, MisconfigurationException):
                raise refused(error) from error
            raise
        return trainer

    def _own_settings(self, is_watched: bool) -> dict[str, object]:
        """What we choose where the configuration leaves it open."""
        chosen = self.config_init.trainer
        own: dict[str, object] = {
            "enable_progress_bar": is_watched,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
        }
        if self.verb == "fit":
            # A folder for each start, because a logger deletes the lines of an earlier one.
            own["logger"] = CSVLogger(self.run_dir, _LOSSES, f"{self.started:%Y%m%d-%H%M%S}")
        else:
            own |= {"logger": False, "enable_checkpointing": False}
        settings = {name: value for name, value in own.items() if chosen[name] is None}
        if self.verb == "validate" and chosen.limit_val_batches == 0:
            settings["limit_val_batches"] = None  # a recipe's 0 is about validation within `fit`
        return {**settings, "default_root_dir": self.run_dir}

    def _own_callbacks(self, is_watched: bool) -> list[Callback]:
        chosen = self.config_init.trainer
        callbacks: list[Callback] = [KeepConfiguration(self.config_text())]
        if self.verb == "fit":
            callbacks.append(TellProgress(each_epoch=not is_watched))
            if chosen.enable_checkpointing is not False and not chosen.fast_dev_run:
                folder = self.run_dir / CHECKPOINTS
                # One file, written anew after every epoch; None to monitor means the newest.
                callbacks.append(
                    ModelCheckpoint(folder, Path(LAST).stem, enable_version_counter=False)
                )
        return callbacks

    def take_back_run_dir(self) -> None:
        """Remove the run directory if it was made for this run and nothing was written to it."""
        if self.config_init.trainer.default_root_dir is None:
            remove_if_empty(self.run_dir)

    def _choose_run_dir(self, given: str | Path | None) -> Path:
        if given is not None:
            return Path(given)
        if rank_zero_only.rank:  # other processes of one run write nothing
            return RUNS / self.recipe
        return create_run_dir(self.recipe, self.started)

    def config_text(self) -> str:
        """What a later run reads back: everything resolved but where this run writes."""
        config = self.config.clone()
        config.trainer.default_root_dir = None
        config.ckpt_path = None
        del config["profile"]  # about one run, not about what it does
        text: str = self.parser.dump(config, skip_none=False)
        return text


@dataclass
class Session:
    """One run of a verb.

    Args:
        command: As typed.
        cli: Trainer, task and data.
        seconds: Wall-clock time by stage.
        facts: What a verb adds to the run card.
    """

    command: str
    cli: TrainerCLI
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def run_dir(self) -> Path:
        """Where everything is written."""
        return self.cli.run_dir

    @property
    def task(self) -> AnomalyTask:
        """The model."""
        return self.cli.model

    @property
    def data(self) -> AnomalyDataModule:
        """The data module."""
        return self.cli.datamodule

    @property
    def trainer(self) -> Trainer:
        """Lightning's trainer."""
        return self.cli.trainer

    def timed(self, stage: str, work: Callable[[], object]) -> None:
        """Do the work and note its seconds; leave no empty run directory behind.

        Raises:
            InterruptedRunError: If the user stopped it.
        """
        began = time.perf_counter()
        try:
            work()
        except MisconfigurationException as error:
            raise refused(error) from error
        except (KeyboardInterrupt, SystemExit) as leaving:
            if isinstance(leaving, KeyboardInterrupt) or self.trainer.interrupted:
                raise InterruptedRunError(self._what_is_left()) from leaving
            raise
        finally:
            self.cli.take_back_run_dir()
        self.seconds[stage] = time.perf_counter() - began

    def _what_is_left(self) -> str:
        checkpoint = last_checkpoint(self.run_dir)
        if not checkpoint.is_file():
            return "no checkpoint had been written yet"
        return (
            f"the last checkpoint is {checkpoint}; continue with: clad fit "
            f"--ckpt_path {self.run_dir} --trainer.default_root_dir {self.run_dir}"
        )


def open_session(verb: str, arguments: Sequence[str], command: str) -> Session:
    """Everything built and ready to run.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        arguments: Words after the verb.
        command: What the user typed, for the run card.

    Raises:
        FileNotFoundError: If a file or folder that was named is missing.
        ValueError: If the configuration or the data is not as it should be.
    """
    quieten()
    started = datetime.now().astimezone()
    began = time.perf_counter()
    cli = TrainerCLI(verb, arguments, started)
    return Session(command, cli, {"build": time.perf_counter() - began})


def refused(error: MisconfigurationException) -> UsageError:
    """Lightning's own sentence, with where to change what it complains of."""
    return UsageError(f"expected settings that the trainer accepts, got: {error}; see `trainer:`")


def _as_list(callbacks: Callback | list[Callback] | None) -> list[Callback]:
    if callbacks is None:
        return []
    return callbacks if isinstance(callbacks, list) else [callbacks]
