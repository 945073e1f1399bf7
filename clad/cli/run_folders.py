"""Names of run directories, and the checkpoints in them.

``runs/RECIPE/TIME/checkpoints/last.ckpt`` is where ``clad fit`` leaves its weights.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from clad.cli.errors import UsageError

RUNS = Path("runs")
CHECKPOINTS, LAST = "checkpoints", "last.ckpt"
CONFIG = "config.yaml"
_TIME = "%Y%m%d-%H%M%S"


def create_run_dir(recipe: str, started: datetime, runs: Path = RUNS) -> Path:
    """A new folder ``runs/RECIPE/TIME`` that no other process has; ``-2`` and so on if needed."""
    folder = runs / recipe
    folder.mkdir(parents=True, exist_ok=True)
    name, count = started.strftime(_TIME), 1
    while True:
        path = folder / (name if count == 1 else f"{name}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            count += 1
        else:
            return path


def last_checkpoint(run_dir: Path) -> Path:
    """Where the weights of a run are kept."""
    return run_dir / CHECKPOINTS / LAST


def find_checkpoint(wanted: str, run_dir: Path | None, recipe: str, runs: Path = RUNS) -> Path:
    """The checkpoint file that ``--ckpt_path`` means.

    Args:
        wanted: A file, a run directory, or ``last``: of ``run_dir`` if given, else of the newest
            run of the recipe that has one.
        run_dir: Value of ``--trainer.default_root_dir``.
        recipe: Name of the recipe.
        runs: Folder of all runs.

    Raises:
        FileNotFoundError: If there is none.
        UsageError: If ``best`` is asked for.
    """
    if wanted == "best":
        raise UsageError(
            "expected --ckpt_path to be a file, a run directory or `last`, got `best`; runs keep "
            "one checkpoint, the last, because choosing one by its metrics takes labelled images"
        )
    if wanted == "last":
        return _newest(run_dir, recipe, runs)
    path = Path(wanted)
    if path.is_file():
        return path
    if path.is_dir() and last_checkpoint(path).is_file():
        return last_checkpoint(path)
    found = f"a folder without {CHECKPOINTS}/{LAST}" if path.is_dir() else "nothing"
    others = sorted(path.parent.glob("*.ckpt"))
    hint = (
        f"that folder has {', '.join(p.name for p in others)}"
        if others
        else "train with `clad fit`"
    )
    raise FileNotFoundError(f"expected a checkpoint at {path}, found {found}; {hint}")


def run_of(checkpoint: Path) -> Path | None:
    """The run directory that a checkpoint lies in, or None if it lies elsewhere."""
    run_dir = checkpoint.parent.parent
    is_in_run = checkpoint.parent.name == CHECKPOINTS and (run_dir / CONFIG).is_file()
    return run_dir if is_in_run else None


def remove_if_empty(run_dir: Path) -> None:
    """Remove a run directory that holds no file."""
    if run_dir.is_dir() and not any(path.is_file() for path in run_dir.rglob("*")):
        shutil.rmtree(run_dir)


def _newest(run_dir: Path | None, recipe: str, runs: Path) -> Path:
    folders = [run_dir] if run_dir is not None else list((runs / recipe).glob("*"))
    files = [path for folder in folders if (path := last_checkpoint(folder)).is_file()]
    if not files:
        where = run_dir if run_dir is not None else runs / recipe / "*"
        raise FileNotFoundError(
            f"expected a checkpoint at {last_checkpoint(where)}, found none; train with `clad fit`"
        )
    return max(files, key=lambda path: path.stat().st_mtime)
