"""Words about categories: shipped as data in ``words/*.yaml``, overridden by a user's own file.

A word file looks like this; ``{}`` stands for the class name::

    source: who named these defects
    categories:
      metal_nut:
        class_name: metal nut
        normal: ["a photo of a flawless {}"]
        defects:
          scratch: ["a {} with a scratch on its face"]

What a user's file leaves out is taken from the shipped entry of that category. A category that is
unknown to both is described by its own name, underscores read as spaces, and by the words of
``generic.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

WORDS_FOLDER = Path(__file__).parent / "words"
CLASS_NAMES_FOLDER = Path(__file__).parent / "class_names"
GENERIC = "generic"
SLOT = "{}"
PART_SEPARATOR = "/"
"""Between a data set and its category, where several are joined (``clad.data.joined``)."""
FILE_KEYS = {"source", "categories"}
ENTRY_KEYS = {"class_name", "normal", "defects"}


@dataclass(frozen=True)
class ClassWords:
    """How to speak of one category.

    Args:
        class_name: In natural language, e.g. ``metal nut``.
        normal: Sentences about a normal one, class name filled in.
        defects: Sentences by defect type, class name filled in.
    """

    class_name: str
    normal: tuple[str, ...]
    defects: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class WordEntry:
    """One category of a word file, as written: None and empty where the file says nothing."""

    class_name: str | None = None
    normal: tuple[str, ...] = ()
    defects: Mapping[str, tuple[str, ...]] | None = None


def as_category(name: str, known: Sequence[str] = ()) -> str:
    """The category that a spoken name means: ``metal nut`` is ``metal_nut``.

    Args:
        name: As typed.
        known: Names that win, in whatever case they are typed.

    Raises:
        ValueError: If the name is blank.
    """
    category = "_".join(name.split())
    if not category:
        raise ValueError(f"expected the name of an object, such as 'metal nut', got {name!r}")
    by_case = {each.casefold(): each for each in known}
    if name in known or category in known:
        return name if name in known else category
    return by_case.get(category.casefold(), category)


def class_words(category: str, words: Path | None = None) -> ClassWords:
    """Class name and sentences of a category.

    Args:
        category: As the data set spells it, e.g. ``metal_nut``; of a name ``part/metal_nut`` that
            is not described as a whole, what follows the last slash counts.
        words: A user's word file, the name of a shipped list of class names (``aa_clip``), or None
            for the shipped words alone.

    Raises:
        FileNotFoundError: If ``words`` is not there.
        ValueError: If ``words`` is malformed.
    """
    shipped = shipped_words()
    own = {} if words is None else _own_words(Path(words))
    if category not in shipped and category not in own:
        category = category.rpartition(PART_SEPARATOR)[2]
    entry = shipped.get(category, WordEntry())
    generic = shipped[GENERIC]
    if words is not None:
        entry = _overlay(entry, own.get(category, WordEntry()))
        generic = _overlay(generic, own.get(GENERIC, WordEntry()))
    class_name = entry.class_name or category.replace("_", " ").strip()
    defects = entry.defects or generic.defects or {}
    return ClassWords(
        class_name=class_name,
        normal=_fill(entry.normal or generic.normal, class_name),
        defects={kind: _fill(texts, class_name) for kind, texts in defects.items()},
    )


def _own_words(words: Path) -> dict[str, WordEntry]:
    shipped = CLASS_NAMES_FOLDER / f"{words}.yaml"
    path = shipped if not words.suffix and shipped.is_file() else words
    return _read_once(path, _modified(path))


@cache
def shipped_words() -> dict[str, WordEntry]:
    """Every shipped category; ``generic`` holds the words for all others."""
    entries: dict[str, WordEntry] = {}
    for path in sorted(WORDS_FOLDER.glob("*.yaml")):
        found = read_words(path)
        twice = sorted(set(found) & set(entries))
        assert not twice, f"{twice} of {path.name} are described in another shipped file, too"
        entries.update(found)
    return entries


def read_words(path: Path) -> dict[str, WordEntry]:
    """The categories of a word file.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is malformed, with the file and the key.
    """
    content = read_yaml_mapping(path, "word file")
    _expect_keys(content, FILE_KEYS, f"{path}")
    categories = content.get("categories")
    if not isinstance(categories, dict) or not categories:
        raise ValueError(
            f"expected `categories` in {path} to map category names to words, got {categories!r}"
        )
    return {str(name): _entry(words, f"{path}: {name}") for name, words in categories.items()}


def read_yaml_mapping(path: Path, what: str) -> dict[str, Any]:
    """Content of a YAML file whose top level is a mapping.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is no YAML, or no mapping.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a {what} at {path}, found none; check the path")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where is not None else ""
        raise ValueError(
            f"expected valid YAML in the {what} {path}, got a syntax error{line}; "
            "quote every sentence, above all those that hold {}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"expected a mapping at the top of the {what} {path}, got {type(content).__name__}"
        )
    return content


def sentences(value: object, where: str) -> tuple[str, ...]:
    """A non-empty list of sentences as a tuple.

    Raises:
        ValueError: If it is something else, or a sentence is empty, padded or listed twice.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"expected a non-empty list of sentences at {where}, got {value!r}")
    for text in value:
        if not isinstance(text, str):
            raise ValueError(
                f"expected sentences at {where}, got {text!r}; put quotes around what holds {{}}"
            )
        if not text or text != text.strip():
            raise ValueError(
                f"expected sentences without surrounding blanks at {where}, got {text!r}"
            )
    twice = sorted({text for text in value if value.count(text) > 1})
    if twice:
        raise ValueError(f"expected each sentence once at {where}, got {twice} more than once")
    return tuple(value)


def _entry(value: object, where: str) -> WordEntry:
    if not isinstance(value, dict):
        raise ValueError(
            f"expected {where} to map {', '.join(sorted(ENTRY_KEYS))} to words, got {value!r}"
        )
    _expect_keys(value, ENTRY_KEYS, where)
    class_name = value.get("class_name")
    if class_name is not None and not (isinstance(class_name, str) and class_name.strip()):
        raise ValueError(f"expected class_name of {where} to be words, got {class_name!r}")
    defects = value.get("defects")
    if defects is not None and not (isinstance(defects, dict) and defects):
        raise ValueError(
            f"expected defects of {where} to map defect types to sentences, got {defects!r}"
        )
    return WordEntry(
        class_name=class_name,
        normal=sentences(value["normal"], f"{where}: normal") if "normal" in value else (),
        defects=defects
        and {
            str(kind): sentences(texts, f"{where}: defects: {kind}")
            for kind, texts in defects.items()
        },
    )


def _expect_keys(content: Mapping[Any, object], allowed: set[str], where: str) -> None:
    unknown = sorted(str(key) for key in set(content) - allowed)
    if unknown:
        raise ValueError(
            f"expected only the keys {', '.join(sorted(allowed))} in {where}, got {unknown}"
        )


def _overlay(base: WordEntry, own: WordEntry) -> WordEntry:
    defects = {**(base.defects or {}), **(own.defects or {})}
    return WordEntry(own.class_name or base.class_name, own.normal or base.normal, defects or None)


def _fill(texts: tuple[str, ...], class_name: str) -> tuple[str, ...]:
    return tuple(text.replace(SLOT, class_name) for text in texts)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


@cache
def _read_once(path: Path, modified_ns: int) -> dict[str, WordEntry]:
    return read_words(path)
