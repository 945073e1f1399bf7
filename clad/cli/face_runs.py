"""The newest finished run that was trained on faces."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from clad.cli.run_folders import CHECKPOINTS, CONFIG, LAST, RUNS
from clad.reports.run_directory import CARD

_DOMAIN = "face"


def newest_face_run(runs: Path = RUNS) -> Path:
    """The run directory whose weights are the newest among the finished runs of domain ``face``.

    Raises:
        FileNotFoundError: If there is none, with how to train one.
    """
    weights = sorted(
        runs.glob(f"**/{CHECKPOINTS}/{LAST}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in weights:
        run = path.parent.parent
        # The card is written after training: without it the training was cut off.
        if (run / CARD).is_file() and (run / CONFIG).is_file() and is_of_faces(run / CONFIG):
            return run
    raise FileNotFoundError(
        f"expected a finished run on faces below {runs}/, found none; train one with `clad fit "
        "--config configs/recipes/deepfake.yaml --data.root DIR`, or name one with --model RUN"
    )


def is_of_faces(config: Path) -> bool:
    """Whether a data source of this configuration has the domain ``face``."""
    import yaml

    from clad.data.base import DataSource

    content = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    for name in _class_paths(content.get("data")):
        module, _, class_name = name.rpartition(".")
        try:
            found = getattr(import_module(module), class_name)
        except (ImportError, AttributeError, ValueError):
            continue
        if isinstance(found, type) and issubclass(found, DataSource) and found.domain == _DOMAIN:
            return True
    return False


def _class_paths(content: Any) -> Iterator[str]:  # noqa: ANN401 - what a YAML may hold
    if isinstance(content, dict):
        if isinstance(content.get("class_path"), str):
            yield content["class_path"]
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from _class_paths(each)
