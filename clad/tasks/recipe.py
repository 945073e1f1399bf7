"""A recipe's files -> a model, without data, trainer or command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser, Namespace

from clad.tasks.anomaly_model import AnomalyModel

_IGNORED = ("trainer", "data")
"""Groups that belong to training; their values can be referred to, and are not checked."""


_CONFIG, _CHECKPOINT = "config.yaml", Path("checkpoints") / "last.ckpt"


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read and checked, ready to be built.

    Args:
        config: Everything that was set, with references resolved.
        image_size: (height, width) that images are resized to before the tower, as in training;
            None where no file says so.
    """

    config: Namespace
    image_size: tuple[int, int] | None

    def build(self) -> AnomalyModel:
        """A new model; its parts have the weights they start with."""
        model: AnomalyModel = recipe_parser().instantiate_classes(self.config).model
        return model


def recipe_parser(program: str = "clad") -> ArgumentParser:
    """Reads ``--config`` files and ``--model.*`` options; later ones win, key by key.

    Args:
        program: Name in messages.
    """
    parser = ArgumentParser(prog=program, parser_mode="omegaconf+", exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--seed_everything", type=bool | int, default=True)
    parser.add_argument("--ckpt_path", type=str | None, default=None)
    for group in _IGNORED:
        parser.add_argument(f"--{group}", type=dict | None, default=None)
    parser.add_class_arguments(AnomalyModel, "model", fail_untyped=False, sub_configs=True)
    return parser


def read_recipe(files: Sequence[Path], program: str = "clad") -> Recipe:
    """The recipe of some configuration files, the later ones laid over the earlier.

    Args:
        files: At least one; a ``config.yaml`` that ``clad fit`` wrote is one, too.
        program: Name in messages.

    Raises:
        argparse.ArgumentError: If a key, class or value is wrong.
        FileNotFoundError: If a file is not there.
    """
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"expected a recipe at {path}, found none; check the path")
    words = [word for path in files for word in ("--config", str(path))]
    config = recipe_parser(program).parse_args(words)
    return Recipe(config, _image_size(files))


def run_files(run: Path) -> tuple[Path, Path]:
    """Configuration and checkpoint of a run, named by its folder or by the checkpoint.

    Raises:
        FileNotFoundError: If one of them is not there.
    """
    checkpoint = run / _CHECKPOINT if run.is_dir() else run
    folder = run if run.is_dir() else run.absolute().parent.parent
    if not checkpoint.is_file():
        found = "a folder without one" if run.is_dir() else "nothing"
        raise FileNotFoundError(
            f"expected a run of `clad fit` at {run}, with {_CHECKPOINT}, found {found}; "
            "train with `clad fit`, or check the path"
        )
    config = folder / _CONFIG
    if not config.is_file():
        raise FileNotFoundError(
            f"expected the configuration that {checkpoint} was trained with at {config}, found "
            "none; leave the checkpoint in its run directory"
        )
    return config, checkpoint


def _image_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """``data.image_size`` of the last file that has one."""
    size = None
    for path in files:
        data = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("data") or {}
        size = data.get("image_size", size)
    if size is None:
        return None
    if isinstance(size, int):
        return (size, size)
    if isinstance(size, list) and [type(side) for side in size] == [int, int]:
        return (size[0], size[1])
    raise ValueError(
        f"expected data.image_size to be a side or [height, width] in pixels, got {size!r}"
    )
