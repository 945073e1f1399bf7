"""What libraries say: known chatter is kept back, everything else comes through."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from clad.cli.quiet import quieten

ROOT = Path(__file__).parents[2]


@pytest.fixture
def heard() -> Iterator[list[str]]:
    messages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, listener = logging.getLogger("lightning.pytorch"), Listener()
    logger.addHandler(listener)
    with warnings.catch_warnings():
        yield messages
    logger.removeHandler(listener)


def test_chatter_is_kept_back_and_news_is_not(heard: list[str]) -> None:
    quieten()
    quieten()
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    for message in (
        "GPU available: False, used: False",
        "\N{ELECTRIC LIGHT BULB} Tip: buy something",
        "`Trainer.fit` stopped: `max_epochs=2` reached.",
    ):
        logger.warning(message)
    logger.warning("transistor: 12 images without a mask")
    assert heard == ["transistor: 12 images without a mask"]
    filters = next(h for h in logging.getLogger("lightning.pytorch").handlers if h.filters).filters
    assert len(filters) == 1


def test_warnings_are_kept_back_by_their_text_only() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quieten()
        warnings.warn("The 'train_dataloader' does not have many workers which may", stacklevel=1)
        warnings.warn("The 'train_dataloader' is empty", stacklevel=1)
    assert [str(each.message) for each in caught] == ["The 'train_dataloader' is empty"]


@pytest.mark.slow
def test_a_real_run_says_nothing_but_notes_on_the_data(tmp_path: Path) -> None:
    # In a process of its own: pytest takes over logging and warnings in this one.
    program = """
import sys
sys.path[:0] = ["tests", "tests/cli"]
from pathlib import Path
from tiny_recipe import write_images, write_recipe
from clad.cli.main import main
folder = Path(sys.argv[1])
words = ["--config", str(write_recipe(folder)), "--data.root", str(write_images(folder / "images"))]
words += ["--trainer.default_root_dir", str(folder / "run")]
for verb in (["fit"], ["test", "--ckpt_path=last"], ["validate", "--ckpt_path=last"],
             ["predict", "--ckpt_path=last"], ["fit", "--ckpt_path=last", "--trainer.max_epochs=3"]
             ):
    assert main([*verb, *words]) == 0, verb
"""
    call = [sys.executable, "-c", program, str(tmp_path)]
    shown = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stderr.splitlines()
    assert [line for line in lines if not re.match(r"(metal_nut|tile): ", line)] == []
