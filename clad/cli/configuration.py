"""The complete configuration that a verb would run with, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from clad.cli.quiet import quieten
from clad.cli.session import TrainerCLI


class _Reader(TrainerCLI):
    """Parses, and builds nothing of it."""

    def instantiate_classes(self) -> None:
        """Leave everything as text."""


def read_configuration(verb: str, arguments: Sequence[str]) -> str:
    """What a verb would run with, as YAML; where the run writes is left out.

    Raises:
        UsageError: If a key, class, value or reference is wrong, with the alternatives.
    """
    quieten()
    return _Reader(verb, arguments, datetime.now().astimezone()).config_text()
