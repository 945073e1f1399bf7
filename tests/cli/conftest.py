"""A folder with a recipe and images, in which the tests of a module run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_recipe import write_images, write_recipe


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with ``recipes/tiny.yaml`` and ``images/``."""
    folder = tmp_path_factory.mktemp("work")
    write_recipe(folder)
    write_images(folder / "images")
    with contextlib.chdir(folder):
        yield folder
