"""The command ``clad``: finds the verb first and imports only what that verb needs.

``clad --help`` and ``clad --version`` answer without torch; importing it takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from clad.cli.errors import UsageError, closest, guarded
from clad.version import __version__


class Verb(NamedTuple):
    """Where a verb lives; its module has ``run(verb, arguments) -> exit status``."""

    module: str
    summary: str


VERBS = {
    "fit": Verb("training", "train what a recipe lets learn, and keep the weights"),
    "validate": Verb("training", "metrics on the validation images"),
    "test": Verb("training", "metrics on the test images, written to a run directory"),
    "predict": Verb("training", "scores and heat maps of images, without metrics"),
    "protocol": Verb("protocol", "train on one data set, test on another, as papers do"),
    "score": Verb("score", "score images beside a few good parts, photos and videos of faces"),
    "faces": Verb("faces", "cut the faces out of photos and videos, to train on"),
    "forge": Verb("forge", "forge faces with exact masks from a folder of real ones"),
    "ablate": Verb("ablate", "train and test variants of a recipe, and print one table"),
    "matrix": Verb("matrix", "train on one manipulation each, test on all, and print the matrix"),
    "cross": Verb("cross", "train on one face set, test on several others, and print one table"),
    "compare": Verb("compare", "finished runs on the same test images: differences beyond chance"),
    "robustness": Verb("robustness", "a finished run on compressed, blurred and noisy images"),
    "lint": Verb("lint", "what file formats and sizes give away of the labels"),
    "report": Verb("report", "one page of a tested run: numbers, curves, heat maps"),
    "demo": Verb("demo", "train and test on real solar cells, then write the report"),
    "bench": Verb("bench", "what is claimed, measured beside its peer"),
    "download": Verb("download", "fetch MVTec AD or VisA from their owners"),
}

_EXAMPLE = """\
example:
  clad fit --config configs/recipes/clad_folder.yaml --data.root DIR"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed, 2 a mistake in what was asked, 130 interrupted.

    Args:
        argv: Words after ``clad``; None takes those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _dispatch(words))


def help_text() -> str:
    """What ``clad --help`` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    return (
        "usage: clad VERB ...\n\n"
        "Contrastive vision-language anomaly detection: is this part as it should be,\n"
        "and if not, where?\n\n"
        f"verbs:\n{verbs}\n\n"
        "`clad VERB --help` lists what a verb takes; `clad --version` names the version.\n\n"
        f"{_EXAMPLE}"
    )


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(help_text())
        return 0
    if words[0] == "--version":
        print(f"clad {__version__}")
        return 0
    verb, arguments = words[0], words[1:]
    if verb not in VERBS:
        raise UsageError(
            f"expected one of the verbs {', '.join(VERBS)}, got {verb!r}{closest(verb, VERBS)}"
        )
    module = import_module(f"clad.cli.{VERBS[verb].module}")
    status: int = module.run(verb, arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
