"""The options of ``clad score`` that set another threshold than that of the training."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from math import isfinite


def add_threshold_options(parser: ArgumentParser) -> None:
    """Add ``--threshold`` and ``--false-alarms``, one of which may be given."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--threshold",
        metavar="X",
        type=_score,
        help="call images anomalous from this raw score on, in place of the fitted threshold",
    )
    group.add_argument(
        "--false-alarms",
        metavar="SHARE",
        type=_share,
        help="fit the threshold to this share of false alarms, such as 0.01, on the scores of "
        "normal images that a run keeps or --normal gives; nothing is trained",
    )


def _score(text: str) -> float:
    value = _number(text)
    if not isfinite(value):
        raise ArgumentTypeError(f"expected a finite score, got {text!r}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise ArgumentTypeError(f"expected a share between 0 and 1, such as 0.01, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"expected a number, got {text!r}") from error
