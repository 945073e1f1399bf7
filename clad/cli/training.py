"""``clad fit | validate | test | predict``: what can be checked quickly, then the real thing."""

from __future__ import annotations

import shlex
from pathlib import Path

from clad.cli.config_files import check_files, files_first, named_files
from clad.cli.errors import DONE, UsageError
from clad.cli.run_folders import CONFIG, run_of
from clad.cli.seeds import OPTION, has_seeds, take_seeds, train_seeds

_CHECKPOINT = "--ckpt_path"


def run(verb: str, arguments: list[str]) -> int:
    """Run one verb of the trainer.

    A checkpoint in a run directory brings that run's configuration, unless ``--config`` is given.
    With ``--seeds``, `fit` trains and tests once per seed.

    Raises:
        FileNotFoundError: If a configuration file, checkpoint or folder of images is missing.
        ValueError: If a configuration or the data is not as it should be.
    """
    command = shlex.join(["clad", verb, *arguments])
    _expect_no_seeds(verb, arguments)
    request, arguments = take_seeds(verb, arguments)
    check_files(named_files(arguments))
    if request is not None:
        train_seeds(request, files_first(arguments), command)
        return DONE
    arguments = files_first([*_configuration_of_checkpoint(arguments), *arguments])
    from clad.cli import stages
    from clad.cli.session import open_session

    session = open_session(verb, arguments, command)
    stages.STAGES[verb](session)
    return DONE


def _expect_no_seeds(verb: str, arguments: list[str]) -> None:
    if verb != "fit" and has_seeds(arguments):
        raise UsageError(
            f"expected no {OPTION} for `clad {verb}`, which trains nothing; `clad fit {OPTION} "
            "0,1,2` trains and tests each seed"
        )


def _configuration_of_checkpoint(arguments: list[str]) -> list[str]:
    """``--config RUN/config.yaml`` if only a checkpoint in RUN is named."""
    if named_files(arguments):
        return []
    for position, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        if flag == _CHECKPOINT:
            path = Path(value if equals else "".join(arguments[position + 1 : position + 2]))
            run_dir = path if (path / CONFIG).is_file() else run_of(path)
            return [] if run_dir is None else ["--config", str(run_dir / CONFIG)]
    return []
