"""What jsonargparse and OmegaConf say of a configuration -> one sentence with the alternatives."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from clad.cli.errors import closest, one_sentence

_MANY = 16
"""Of more alternatives than this, only the closest is named."""


class Vocabulary(NamedTuple):
    """What a configuration may say.

    Args:
        program: The command, e.g. ``clad fit``.
        options: Dotted names of all options, e.g. ``data.root``.
        groups: Name of a group -> class whose constructor it describes.
    """

    program: str
    options: Sequence[str]
    groups: Mapping[str, type]


def explain(message: str, words: Vocabulary) -> str:
    """One sentence: what was expected, what came, what is known.

    Args:
        message: Of jsonargparse's ``ArgumentError`` or an OmegaConf error.
        words: What could have been said.
    """
    keys = re.findall(r"Parser key \"([\w.]+)\"", message)
    where = ".init_args.".join(keys)
    for pattern, answer in _ANSWERS:
        found = list(re.finditer(pattern, message))
        if found:
            return answer(found[-1], where, words)
    return one_sentence(message)


def known_classes(contract: type) -> list[str]:
    """Import paths of the classes beside a contract that fulfil it."""
    package = import_module(contract.__module__.rpartition(".")[0])
    names = []
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        for name, member in inspect.getmembers(import_module(module.name), inspect.isclass):
            is_own = member.__module__ == module.name
            if is_own and issubclass(member, contract) and not inspect.isabstract(member):
                names.append(f"{module.name}.{name}")
    return sorted(names)


def contract_of(key: str, groups: Mapping[str, type]) -> type | None:
    """The contract that the class at a key such as ``model.tower`` must fulfil, if it has one."""
    group, _, rest = key.partition(".")
    if group not in groups:
        return None
    hints = typing.get_type_hints(groups[group].__init__)  # type: ignore[misc]
    candidates = _classes_in(hints.get(rest.partition(".")[0]))
    return next((each for each in candidates if inspect.isabstract(each)), None)


def _classes_in(hint: object) -> Iterable[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _classes_in(inner)


def _alternatives(where: str, words: Vocabulary, given: str) -> str:
    """``; known are a, b; did you mean a?`` for a class, or nothing if there is no contract."""
    contract = contract_of(where, words.groups)
    if contract is None:
        return ""
    known = known_classes(contract)
    if given and "." not in given:
        known_names = {path.rpartition(".")[2]: path for path in known}
        given = known_names.get(given, given)
    return f"; known are {', '.join(known)}{closest(given, known)}"


def _named(names: Iterable[str], given: str, words: Vocabulary) -> str:
    """The names, or only the closest where there are many."""
    listed = sorted(set(names))
    if len(listed) <= _MANY:
        return f"{', '.join(listed)}, got {given!r}{closest(given, listed)}"
    hint = closest(given, listed)
    return f"those that `{words.program} --help` lists, got {given!r}{hint}"


def _unknown_setting(match: re.Match[str], where: str, words: Vocabulary) -> str:
    path, given = match["path"], match["key"].partition(".")[0]
    module, _, name = path.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    return f"expected init_args of {path} ({where}) among {_named(parameters, given, words)}"


def _unknown_class(match: re.Match[str], where: str, words: Vocabulary) -> str:
    path, missing = match["path"], match["missing"]
    if missing and not f"{path}.".startswith(f"{missing}."):
        return f"expected the module {missing} for {path} ({where}), found none; install it"
    return f"expected a class for {where}, got {path!r}, which does not exist" + _alternatives(
        where, words, path
    )


def _short_name(match: re.Match[str], where: str, words: Vocabulary) -> str:
    name = match["path"]
    start = f"expected the import path of a class for {where}, got {name!r}"
    return start + _alternatives(where, words, name)


def _unknown_name(match: re.Match[str], where: str, words: Vocabulary) -> str:
    del words
    return (
        f"expected a class for {where}, got {match['module']}.{match['name']}, which does not exist"
    )


def _wrong_kind(match: re.Match[str], where: str, words: Vocabulary) -> str:
    return (
        f"expected a {match['kind']} for {where}, got {match['path']}, which is none"
        + _alternatives(where, words, match["path"])
    )


def _unknown_key(match: re.Match[str], where: str, words: Vocabulary) -> str:
    if where:
        return f"expected settings that {where} takes, got {match['key']!r}, which is not one"
    group, given = match.groupdict().get("group"), match["key"].partition(".")[0]
    start = f"{group}." if group else ""
    names = {
        option.removeprefix(start).partition(".")[0]
        for option in words.options
        if option.startswith(start)
    }
    place = f"keys of {group}" if group else "top-level keys"
    return f"expected {place} among {_named(names, given, words)}"


def _unknown_flag(match: re.Match[str], where: str, words: Vocabulary) -> str:
    del where
    given = match["flags"].split()[0]
    names = [f"--{option}" for option in words.options]
    return f"expected options among {_named(names, given.partition('=')[0], words)}"


def _missing(match: re.Match[str], where: str, words: Vocabulary) -> str:
    del where
    return (
        f"expected a value for {match['key']}, got none; name a recipe (configs/recipes/) with "
        f"--config, or set it{_alternatives(match['key'], words, '')}"
    )


def _wrong_type(match: re.Match[str], where: str, words: Vocabulary) -> str:
    del words
    found = match.groupdict()
    kind = found["kind"] if "kind" in found else f"one of {found['kinds']}"
    shown = re.sub(r"<class '([\w.]+)'>", r"\1", kind)
    return f"expected {where} to be {one_sentence(shown)}, got {one_sentence(match['value'])!r}"


def _no_variable(match: re.Match[str], where: str, words: Vocabulary) -> str:
    del where, words
    return f"expected the environment variable {match['name']} for {match['key']}, got none; set it"


def _no_reference(match: re.Match[str], where: str, words: Vocabulary) -> str:
    del where, words
    return (
        f"expected ${{{match['name']}}} in {match['key']} to name a key, found none of that name; "
        "write the path from the top, such as ${data.image_size}"
    )


_CLASS = r"Problem with given class_path '(?P<path>[\w.]+)':\s+"
_ANSWERS = (
    (_CLASS + r"Option '(?P<key>[\w.]+)' is not accepted", _unknown_setting),
    (
        _CLASS + r"(?:module '[\w.]+' has no attribute '\w+'"
        r"|No module named '(?P<missing>[\w.]+)')",
        _unknown_class,
    ),
    (
        r"Import path (?P<path>[\w.]+) does not correspond to a subclass of (?P<kind>\w+)",
        _wrong_kind,
    ),
    (r"Expected a dot import path string: (?P<path>\w+)", _short_name),
    (r"Group '(?P<group>[\w.]+)' does not accept option '(?P<key>[\w.]+)'", _unknown_key),
    (r"Option '(?P<key>[\w.]+)' is not accepted", _unknown_key),
    (r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'", _unknown_name),
    (r"Unrecognized arguments: (?P<flags>.+)", _unknown_flag),
    (r"Option '(?P<key>[\w.]+)' is required", _missing),
    (r"Expected a (?P<kind>[^.]*(?:\.[^.\s][^.]*)*)\. Got value: (?P<value>.+)", _wrong_type),
    (
        r"Subtypes: \[(?P<kinds>.+)\]\s(?s:.*)Given value: (?P<value>.+)",
        _wrong_type,
    ),
    (r"Environment variable '(?P<name>\w+)' not found\"\s+full_key: (?P<key>\S+)", _no_variable),
    (r"Interpolation key '(?P<name>[\w.]+)' not found\s+full_key: (?P<key>\S+)", _no_reference),
)
