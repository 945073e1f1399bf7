"""The data group of a configuration, built alone: no model, no trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clad.cli.errors import UsageError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from clad.data.datamodule import AnomalyDataModule

_IGNORED = ("model", "trainer")


def read_data(files: Sequence[Path], options: Sequence[str], program: str) -> AnomalyDataModule:
    """The data module of some configuration files and ``--data.*`` options.

    Args:
        files: Files of ``configs/data/``, or recipes, whose other groups are not looked at.
        options: Win over files.
        program: Name in messages.

    Raises:
        UsageError: If a key, class or value is wrong, with the alternatives.
    """
    words = [word for path in files for word in ("--config", str(path))]
    return _build(program, lambda parser: parser.parse_args([*words, *options]))


def build_data(content: Mapping[str, Any], program: str) -> AnomalyDataModule:
    """The data module of a ``data:`` group.

    Args:
        content: As in YAML, references resolved.
        program: Name in messages.

    Raises:
        UsageError: If a key, class or value is wrong, with the alternatives.
    """
    return _build(program, lambda parser: parser.parse_object({"data": dict(content)}))


def _build(program: str, parse: Callable[[ArgumentParser], Namespace]) -> AnomalyDataModule:
    from jsonargparse import ArgumentError
    from omegaconf.errors import OmegaConfBaseException

    from clad.cli.config_errors import Vocabulary, explain
    from clad.data.datamodule import AnomalyDataModule

    parser = _parser(program)
    try:
        config = parse(parser)
    except (ArgumentError, OmegaConfBaseException) as error:
        options = [action.dest for action in parser._actions]
        words = Vocabulary(program, options, {"data": AnomalyDataModule})
        raise UsageError(explain(str(error), words)) from error
    data: AnomalyDataModule = parser.instantiate_classes(config).data
    return data


def _parser(program: str) -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from clad.data.datamodule import AnomalyDataModule

    parser = ArgumentParser(prog=program, parser_mode="omegaconf+", exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--seed_everything", type=bool | int, default=True)
    parser.add_argument("--ckpt_path", type=str | None, default=None)
    for group in _IGNORED:
        parser.add_argument(f"--{group}", type=dict | None, default=None)
    parser.add_class_arguments(AnomalyDataModule, "data", fail_untyped=False, sub_configs=True)
    return parser
