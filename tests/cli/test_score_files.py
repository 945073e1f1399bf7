"""What clad score reads and writes: pictures or none, and a cache of decoded images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tiny_recipe import clad

pytestmark = pytest.mark.filterwarnings("ignore")


def test_without_pictures_only_the_table_is_written(place) -> None:
    words = ("score", "parts", "--normal=good", "--k=3")
    clad(*words, "--output=with")
    shown = clad(*words, "--output=without", "--maps=none")
    assert shown.status == 0, shown.err
    assert "maps:" not in shown.out
    assert [path.name for path in Path("without").iterdir()] == ["scores.csv"]
    tables = [(Path(folder) / "scores.csv").read_bytes() for folder in ("with", "without")]
    assert tables[0] == tables[1]


def test_pictures_have_the_longest_side_asked_for(place) -> None:
    shown = clad("score", "parts/a", "--normal=good", "--k=3", "--output=out", "--map-px=20")
    assert shown.status == 0, shown.err
    assert Image.open("out/maps/000.png").size == (20, 20)
    shown = clad("score", "parts/a", "--normal=good", "--map-px=0")
    assert shown.status == 2
    assert "expected --map-px to be at least 1, got 0" in shown.err


def test_a_second_call_decodes_nothing_and_says_the_same(place, monkeypatch) -> None:
    words = ("score", "parts", "--normal=good", "--k=3", "--cache=kept")
    first = clad(*words, "--output=one")
    monkeypatch.setattr("clad.data.loose_images.open_rgb", None)
    monkeypatch.setattr("clad.cli.waiting_maps.open_rgb", None)
    second = clad(*words, "--output=two")
    assert second.status == 0, second.err
    assert second.out == first.out.replace("one/", "two/")
    written = [path for path in Path("one").rglob("*") if path.is_file()]
    assert len(written) == 7
    for path in written:
        assert path.read_bytes() == (Path("two") / path.relative_to("one")).read_bytes()
