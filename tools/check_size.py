"""Refuse files of more than 100 KB: python tools/check_size.py FILE ..."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

MAX_BYTES = 100_000


def too_large(paths: Iterable[Path]) -> list[str]:
    """Sentences about the files that are too large."""
    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    return [
        f"expected at most {MAX_BYTES} bytes, got {size} in {path}; make it smaller or leave it out"
        for path, size in sizes.items()
        if size > MAX_BYTES
    ]


if __name__ == "__main__":
    sys.exit("\n".join(too_large(map(Path, sys.argv[1:]))) or 0)
