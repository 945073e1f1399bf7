"""A folder with a recipe and images, in which the tests of a module run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from detector_recipes import (
    DESCRIPTIONS,
    FOCAL,
    MEMORY,
    PATCH_TEXT,
    PROJECTION,
    write_textures,
)
from detector_recipes import write_recipe as write_detector_recipe
from tiny_recipe import write_images, write_recipe


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with ``recipes/tiny.yaml`` and ``images/``."""
    folder = tmp_path_factory.mktemp("work")
    write_recipe(folder)
    write_images(folder / "images")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder: recipes, good parts, and parts to score in two folders."""
    monkeypatch.chdir(tmp_path)
    write_detector_recipe(Path("few_shot.yaml"), MEMORY)
    write_detector_recipe(Path("words.yaml"), PATCH_TEXT, prompts=DESCRIPTIONS)
    write_detector_recipe(Path("unaligned.yaml"), PATCH_TEXT, aligned=False, prompts=DESCRIPTIONS)
    write_detector_recipe(
        Path("trained.yaml"), PATCH_TEXT, aligned=False,
        prompts=DESCRIPTIONS, adapter=PROJECTION, losses=[FOCAL],
    )  # fmt: skip
    write_textures(Path("good"), 40)
    write_textures(Path("parts/a"), 3, seed=8)
    write_textures(Path("parts/b"), 3, seed=9, defective=True)
    monkeypatch.setattr("clad.cli.score.find_recipe", lambda name: Path(name))
    return tmp_path
