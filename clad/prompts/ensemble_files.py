"""Files of states and templates: many short sentences per class.

A file looks like this; ``{}`` stands for the state in a template, for the class name in a state::

    source: who uses these words
    normal: ["flawless {}"]
    anomalous: ["broken {}"]
    templates: ["a photo of a {}."]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clad.checks import expect_choice
from clad.prompts.words import SLOT, read_yaml_mapping, sentences

ENSEMBLES_FOLDER = Path(__file__).parent / "ensembles"
ENSEMBLE_KEYS = {"source", "normal", "anomalous", "templates"}


@dataclass(frozen=True)
class Ensemble:
    """States of an object, and templates that take a state; every one holds ``{}``."""

    normal: tuple[str, ...]
    anomalous: tuple[str, ...]
    templates: tuple[str, ...]

    def prompts(self, class_name: str) -> tuple[list[str], list[str]]:
        """All normal and all anomalous sentences about a class."""
        sides = [
            [
                template.replace(SLOT, state.replace(SLOT, class_name))
                for state in states
                for template in self.templates
            ]
            for states in (self.normal, self.anomalous)
        ]
        return sides[0], sides[1]


def load_ensemble(name: str) -> Ensemble:
    """A shipped set of states and templates by name, or a user's by path.

    Raises:
        FileNotFoundError: If a path is not there.
        ValueError: If the name is unknown or the file malformed.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        shipped = {file.stem: file for file in ENSEMBLES_FOLDER.glob("*.yaml")}
        expect_choice("ensemble (a shipped name or the path of a .yaml file)", name, shipped)
        path = shipped[name]
    content = read_yaml_mapping(path, "prompt ensemble")
    missing = sorted({"normal", "anomalous", "templates"} - set(content))
    unknown = sorted(str(key) for key in set(content) - ENSEMBLE_KEYS)
    if missing or unknown:
        raise ValueError(
            f"expected the keys normal, anomalous, templates and source in {path}; "
            f"missing {missing}, unknown {unknown}"
        )
    parts = {
        key: sentences(content[key], f"{path}: {key}")
        for key in ("normal", "anomalous", "templates")
    }
    for key, texts in parts.items():
        without = [text for text in texts if text.count(SLOT) != 1]
        if without:
            raise ValueError(f"expected {{}} exactly once in each of {path}: {key}, got {without}")
    return Ensemble(**parts)
