"""Data sets named on a command line: ``[NAME:]LAYOUT=DIR``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clad.cli.config_files import check_files, find_config
from clad.cli.errors import UsageError, closest
from clad.cli.several import folder_name

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class FaceSet:
    """One data set.

    Args:
        name: As the table shows it.
        source: ``data.source``, as in a YAML.
        root: Its folder.
    """

    name: str
    source: Mapping[str, Any]
    root: Path

    @property
    def folder(self) -> str:
        """Name of its run directory."""
        return folder_name(self.name)


def find_set(text: str, protocol: Path | None, role: str) -> FaceSet:
    """The set that ``[NAME:]LAYOUT=DIR`` means.

    Args:
        text: As typed.
        protocol: File with ``train:`` and ``test:``, names with sources; they come first.
        role: ``train`` or ``test``.

    Raises:
        FileNotFoundError: If the folder, or the file of the layout, is missing.
        UsageError: If it is written otherwise, or the layout is unknown.
    """
    named, equals, folder = text.partition("=")
    label, colon, layout = named.rpartition(":")
    if not equals or not folder or not layout or (colon and not label):
        raise UsageError(
            f"expected --{role} [NAME:]LAYOUT=DIR, such as --{role} celeb_df=DIR, got {text!r}"
        )
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(
            f"expected the folder of --{role} {named}, found nothing at {root}; check the path"
        )
    source = _source(layout, _of_protocol(protocol).get(role, {}))
    name = label or Path(layout).stem
    if not folder_name(name):
        raise UsageError(f"expected a name with a letter or digit for --{role}, got {name!r}")
    return FaceSet(name, source, root)


def _of_protocol(path: Path | None) -> Mapping[str, Mapping[str, Any]]:
    import yaml

    if path is None:
        return {}
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    is_fine = set(content) == {"train", "test"} and all(
        isinstance(sets, dict) and all(_is_source(each) for each in sets.values())
        for sets in content.values()
    )
    if not is_fine:
        raise UsageError(
            f"expected `train:` and `test:` with names and sources (class_path, init_args), and "
            f"nothing else, in {path}, got {', '.join(map(str, content))}; see configs/cross/"
        )
    return content


def _source(layout: str, known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the protocol, else of a file."""
    import yaml

    found: Mapping[str, Any] | None = known.get(layout)
    if found is not None:
        return found
    path = Path(layout)
    if not layout.endswith(_SUFFIXES):
        folder = find_config("data", "real_fake.yaml").parent
        shipped = [each.stem for each in folder.glob("*.yaml")]
        if layout not in shipped:
            choices = sorted({*known, *shipped})
            raise UsageError(
                f"expected a layout, one of {', '.join(choices)} or the path of a YAML, got "
                f"{layout!r}{closest(layout, choices)}"
            )
        path = find_config("data", f"{layout}.yaml")
    check_files([path])
    data = yaml.safe_load(path.read_text(encoding="utf-8")).get("data") or {}
    found = data.get("source")
    if found is None or not _is_source(found):
        raise UsageError(f"expected data.source with a class_path in {path}, got {found!r}")
    return found


def _is_source(given: object) -> bool:
    return isinstance(given, dict) and isinstance(given.get("class_path"), str)
