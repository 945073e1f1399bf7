"""What goes wrong because of what was asked ends in one sentence, not in a traceback."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn

DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
_DEBUG = "CLAD_DEBUG"
_FROM_WORKER = re.compile(r"Caught \w+ in DataLoader worker process")


class UsageError(ValueError):
    """A mistake on the command line or in a configuration; its text is the whole message."""


class InterruptedRunError(Exception):
    """The user stopped a run; its text says what is left of it."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises its complaints instead of printing usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raise.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{message}; `{self.prog} --help` lists what it takes")


def guarded(work: Callable[[], int]) -> int:
    """Exit status of ``work``; a user's mistake becomes a sentence on stderr.

    ``CLAD_DEBUG=1`` shows the traceback, too. What is not a user's mistake passes through with its
    traceback, because then the traceback is what we want to be sent.
    """
    try:
        return work()
    except SystemExit as leaving:
        # --help and --print_config leave this way, after they have printed.
        if not isinstance(leaving.code, int | None):
            raise
        return leaving.code or DONE
    except InterruptedRunError as interruption:
        _say(f"clad: interrupted; {interruption}")
        return INTERRUPTED
    except KeyboardInterrupt:
        _say("clad: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`clad ... | head`); it knows why.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ValueError, ImportError, OSError) as error:
        if os.environ.get(_DEBUG, "") not in ("", "0"):
            traceback.print_exc()
        _say(f"clad: error: {one_sentence(str(error) or type(error).__name__)}")
        return MISTAKE


def one_sentence(message: str) -> str:
    """The message on one line; of an error in a loader process, what it said there.

    torch passes those on with the traceback of the process as their text.
    """
    if _FROM_WORKER.match(message):
        message = re.split(r"\n[\w.]+: ", message)[-1]
    return " ".join(message.split()).rstrip(".")


def closest(name: str, choices: Iterable[str]) -> str:
    """``; did you mean X?`` if a choice is close to ``name``, else nothing."""
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
