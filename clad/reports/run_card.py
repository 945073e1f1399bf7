"""How a run came about: command, seed, versions, machine and time, enough to repeat it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from clad.version import __version__

_PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "open_clip_torch",
    "timm",
    "transformers",
    "anomalib",
    "numpy",
    "scipy",
    "scikit-image",
    "pillow",
)


def run_card(
    recipe: str,
    command: str,
    seed: int | None,
    started: datetime,
    seconds: Mapping[str, float],
    checkpoint: Path | str | None = None,
) -> dict[str, Any]:
    """What ``run.json`` holds, less the thresholds.

    Args:
        recipe: Name of the recipe, for titles.
        command: As typed.
        seed: Of the run; None if it was switched off.
        started: Time of the start; written with its time zone.
        seconds: Wall-clock seconds by stage, e.g. ``{"fit": 41.2, "test": 9.8}``.
        checkpoint: Weights that were tested, or None.
    """
    return {
        "recipe": recipe,
        "command": command,
        "seed": seed,
        "versions": package_versions(),
        "started": started.astimezone().isoformat(timespec="seconds"),
        "seconds": {stage: round(float(value), 3) for stage, value in seconds.items()},
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "ckpt": None if checkpoint is None else str(checkpoint),
    }


def package_versions() -> dict[str, str]:
    """Versions of Python, clad and the installed packages that numbers depend on."""
    versions = {"python": platform.python_version(), "clad": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
