"""Reading the JSON tables of the Deepfake Detection Challenge."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

Entry = dict[str, Any]


def read_json_table(path: Path) -> dict[str, Entry]:
    """Entries by the video's path without suffix, e.g. ``method_A/1/1_A/2_1_A_001``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no object of objects, or two entries name one video.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the owners' table {path}, found none; it also belongs beside the faces "
            "that `clad faces` cut"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON in {path}, got {error}; copy it again") from error
    if not isinstance(content, dict) or not all(isinstance(e, dict) for e in content.values()):
        raise ValueError(
            f"expected an entry per video in {path}, got something else; copy it again"
        )
    found = {PurePosixPath(name).with_suffix("").as_posix(): e for name, e in content.items()}
    if len(found) < len(content):
        raise ValueError(f"expected one entry per video in {path}, got some twice; copy it again")
    return found


def field_of(entry: Entry, key: str, choices: tuple[str, ...], video: str, table: Path) -> str:
    """The text of a field.

    Raises:
        ValueError: If it is none of the choices.
    """
    value = entry.get(key)
    if value not in choices:
        raise ValueError(
            f"expected {key} {' or '.join(choices)} for {video} in {table}, got {value!r}; copy "
            "the table again"
        )
    return str(value)
