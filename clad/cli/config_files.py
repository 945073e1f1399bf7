"""The configuration files that a command names: whether they can be read, and the recipe's name.

Looked at before anything slow is imported, so that a misspelt path is answered at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clad.cli.errors import UsageError, closest

_FLAGS = ("-c", "--config")
_RECIPES = "recipes"
NAMELESS = "untitled"
"""Stands in run directories for the recipe of a command without ``--config``."""


def named_files(arguments: Sequence[str]) -> list[Path]:
    """Files after ``--config`` or ``-c``, in their order; later ones win."""
    return [Path(name) for name in _split(arguments)[0]]


def files_first(arguments: Sequence[str]) -> list[str]:
    """The same words with configuration files in front, so that every option wins over them.

    Otherwise a complete configuration after an option would silently set it back.
    """
    names, others = _split(arguments)
    return [*(word for name in names for word in ("--config", name)), *others]


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of configuration files, and all other words."""
    names, others = [], []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in _FLAGS:
            given = value if equals else next(words, None)
            if given is None:
                raise UsageError(f"expected a file after {flag}, got nothing")
            names.append(given)
        else:
            others.append(word)
    return names, others


def check_files(files: Sequence[Path]) -> None:
    """Refuse files that are not YAML mappings.

    Raises:
        FileNotFoundError: If a file is not there.
        UsageError: If it is not YAML, or holds something else than keys and values.
    """
    import yaml

    for path in files:
        if not path.is_file():
            raise FileNotFoundError(
                f"expected a configuration file at {path}, found "
                f"{'a folder' if path.is_dir() else 'none'}{_neighbour(path)}"
            )
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            problem = getattr(error, "problem", None) or error
            raise UsageError(
                f"expected YAML in {path}, got a mistake{where}: {problem}; correct it"
            ) from error
        if not isinstance(content, dict):
            found = "nothing" if content is None else f"a {type(content).__name__}"
            raise UsageError(
                f"expected keys such as `model:`, `data:` or `trainer:` in {path}, got {found}"
            )


def recipe_name(files: Sequence[Path]) -> str:
    """Stem of the first file in a folder ``recipes``, else of the first file.

    A run's own ``config.yaml`` stands for the recipe of that run (``runs/RECIPE/TIME``).
    """
    if not files:
        return NAMELESS
    recipe = next((path for path in files if path.absolute().parent.name == _RECIPES), files[0])
    folders = recipe.absolute().parents
    if recipe.name == "config.yaml" and len(folders) > 1 and folders[1].name:
        return folders[1].name
    return recipe.stem


def find_recipe(name: str) -> Path:
    """The recipe beside the package (a clone), else below this folder.

    Raises:
        FileNotFoundError: If it is in neither place.
    """
    return find_config(_RECIPES, name)


def find_config(folder: str, name: str) -> Path:
    """A file of ``configs/FOLDER/`` beside the package (a clone), else below this folder.

    Raises:
        FileNotFoundError: If it is in neither place.
    """
    places = [Path(__file__).parents[2], Path()]
    for place in places:
        path = place / "configs" / folder / name
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"expected configs/{folder}/{name} beside the package or here, found none; configurations "
        "are part of the repository: run this in a clone of it"
    )


def _neighbour(path: Path) -> str:
    """A hint at a file of similar name in the same folder, or at the folder that is missing."""
    if path.is_dir():
        return "; name a file in it"
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent} seen from {Path.cwd()}"
    return closest(path.name, [p.name for p in path.parent.glob("*.y*ml")]) or "; check the path"
