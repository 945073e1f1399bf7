"""The scripts of ``benchmarks/``: what each claims and needs, read without importing it."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from clad.cli.demo import PACKAGES
from clad.cli.errors import UsageError, closest

FOLDER = "benchmarks"
DATA = "CLAD_BENCHMARK_DATA"
"""Environment variable of the folder that scripts with the need ``data`` look into."""

_DATA_OPTION = "--data"
_HARNESS = "harness"
GPU = "a GPU"
_GPU_DEVICES = (Path("/dev/nvidia0"), Path("/dev/kfd"))


@dataclass(frozen=True)
class Script:
    """A file with a ``CLAIM``.

    Args:
        path: Of the file; its stem is the name.
        claim: One sentence.
        peer: What it is measured beside.
        needs: Modules, ``offline`` (the packages of that extra), ``data``, ``gpu``.
        has_harness: Whether it takes ``--rounds`` and ``--json``.
    """

    path: Path
    claim: str
    peer: str
    needs: tuple[str, ...]
    has_harness: bool

    @property
    def name(self) -> str:
        """As ``clad bench`` takes it."""
        return self.path.stem

    def missing(self, options: Sequence[str] = ()) -> list[str]:
        """What is not there, in words; nothing if it can run with these options."""
        found = []
        for need in self.needs:
            if need == "data":
                given = any(word.partition("=")[0] == _DATA_OPTION for word in options)
                if not given and not os.environ.get(DATA):
                    found.append(f"data ({_DATA_OPTION} DIR or {DATA})")
            elif need == "gpu":
                if not any(device.exists() for device in _GPU_DEVICES):
                    found.append(GPU)
            else:
                modules = PACKAGES if need == "offline" else {need: need}
                found += [package for module, package in modules.items() if not _is_there(module)]
        return found


def find_folder(given: Path | None) -> Path:
    """The folder of scripts: that given, else beside the package, else below this folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    beside = Path(__file__).parents[2] / FOLDER
    places = [beside, Path(FOLDER)] if given is None else [given]
    for place in places:
        # Other packages put a folder of this name beside themselves; ours has a harness.
        if place.is_dir() and (given is not None or (place / f"{_HARNESS}.py").is_file()):
            return place
    if given is not None:
        raise FileNotFoundError(f"expected a folder of benchmarks at {given}, found none")
    raise FileNotFoundError(
        f"expected {FOLDER}/ beside the package or here, found none; benchmarks are part of the "
        "repository, not of the installed package: run this in a clone of it, or name one with "
        f"--folder CLONE/{FOLDER}"
    )


def find_scripts(folder: Path) -> dict[str, Script]:
    """Name -> script, for every file with a ``CLAIM``, by name.

    Raises:
        UsageError: If there is none, or a declaration is no literal.
    """
    read = (_read(path) for path in sorted(folder.glob("*.py")))
    found = {script.name: script for script in read if script is not None}
    if not found:
        raise UsageError(
            f'expected scripts with a line CLAIM = "..." in {folder}, found none; name the folder '
            f"{FOLDER}/ of a clone"
        )
    return found


def expect_script(name: str, scripts: dict[str, Script]) -> Script:
    """The script of that name.

    Raises:
        UsageError: If there is none, with the others.
    """
    if name not in scripts:
        raise UsageError(
            f"expected one of the benchmarks {', '.join(scripts)}, or all, got {name!r}"
            f"{closest(name, scripts)}"
        )
    return scripts[name]


def _read(path: Path) -> Script | None:
    """None for a file without a ``CLAIM``, such as the harness."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    values: dict[str, object] = {"PEER": "", "NEEDS": ()}
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        if name in ("CLAIM", "PEER", "NEEDS"):
            try:
                values[name] = ast.literal_eval(node.value)
            except ValueError as error:
                raise UsageError(
                    f"expected a literal for {name} in {path}, got {ast.unparse(node.value)}; it "
                    "is read without running the script"
                ) from error
    if "CLAIM" not in values:
        return None
    claim, peer, needs = values["CLAIM"], values["PEER"], values["NEEDS"]
    if not (isinstance(claim, str) and isinstance(peer, str) and isinstance(needs, tuple)):
        raise UsageError(
            f"expected text for CLAIM and PEER and a tuple for NEEDS in {path}, got "
            f"{claim!r}, {peer!r}, {needs!r}"
        )
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return Script(path, claim, peer, needs, _HARNESS in imported)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent of a dotted name
        return False
