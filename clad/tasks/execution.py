"""How the image encoder runs: choices that change seconds, and of numbers the last digits."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from clad.heads.base import Head
from clad.towers.base import Tower
from clad.towers.folding import fold_batch_norms
from clad.tuning.base import Tuning


@dataclass(frozen=True)
class Execution:
    """How the image encoder runs.

    Args:
        fold_batch_norm: Merge batch norms into the convolutions before them, where nothing in the
            tower learns; features change by rounding alone.
        compile: Let ``torch.compile`` make kernels for the image encoder; it takes up to minutes at
            the first batch, again at the first batch of another size, and needs a C++ compiler.
    """

    fold_batch_norm: bool = True
    compile: bool = False


EAGER = Execution()


def prepare_tower(tower: Tower, execution: Execution, tuning: Tuning | None, head: Head) -> None:
    """Make the tower ready to run that way; its state dict has the same names as before.

    Only a tower that is in no checkpoint is folded, whose names do not matter.

    Args:
        tower: With the tuning applied.
        execution: What is wanted.
        tuning: Knows what it added to the tower.
        head: Must not differentiate with respect to features if the tower is compiled.

    Raises:
        ValueError: If compiling cannot work here, or would break the head.
    """
    if execution.fold_batch_norm and not _is_in_checkpoints(tower, tuning):
        fold_batch_norms(tower)
    if execution.compile:
        if head.needs_gradients:
            raise ValueError(
                f"expected a head without gradients beside model.execution.compile, got "
                f"{type(head).__name__}, whose derivatives a compiled encoder does not give; "
                "set it to false"
            )
        expect_compiler()
        # In place: a wrapper around the tower would put its own name into every checkpoint.
        tower.compile()


def _is_in_checkpoints(tower: Tower, tuning: Tuning | None) -> bool:
    return any(
        weight.requires_grad or (tuning is not None and tuning.is_own(name))
        for name, weight in tower.named_parameters()
    )


def expect_compiler() -> None:
    """Refuse to compile where ``torch.compile`` would fail at the first batch.

    Raises:
        ValueError: If there is no C++ compiler, or Python's headers are missing.
    """
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise ValueError(
            f"expected a C++ compiler for model.execution.compile, found no {compiler}; install "
            "one (Debian: apt install g++), name yours in the variable CXX, or set it to false"
        )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise ValueError(
            f"expected Python's headers for model.execution.compile, found no {header}; install "
            "them (Debian: apt install python3-dev), or set it to false"
        )
