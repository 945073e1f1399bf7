"""The same images in two runs, made in the same folder or in others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_directories import Files, write_tiny_run

from clad.reports.matching import match_images, take_rows
from clad.reports.run_directory import read_run

FILES: Files = {
    "nut/good/000.png": (0, 0.1),
    "nut/good/001.png": (0, 0.2),
    "nut/bent/000.png": (1, 0.9),
    "tile/good/000.png": (0, 0.3),
    "tile/crack/000.png": (1, 0.7),
}


def matched_paths(first: Path, second: Path) -> tuple[list[str], list[str]]:
    runs = read_run(first), read_run(second)
    found = match_images(*runs)
    one, other = (
        take_rows(run.predictions, rows)
        for run, rows in zip(runs, (found.first, found.second), strict=True)
    )
    assert one.categories == other.categories
    return list(one.paths), list(other.paths)


@pytest.mark.parametrize("has_root", [True, False], ids=["data.root", "no data.root"])
def test_other_folders_and_another_order(tmp_path: Path, has_root: bool) -> None:
    shuffled = dict(reversed(FILES.items()))
    a = write_tiny_run(tmp_path / "a", FILES, root="/here/parts")
    b = write_tiny_run(tmp_path / "b", shuffled, root="/there/copy/of", has_root=has_root)
    one, other = matched_paths(a, b)
    assert one == [f"/here/parts/{name}" for name in FILES]
    assert other == [f"/there/copy/of/{name}" for name in FILES]


def test_counts_of_images_that_one_run_alone_has(tmp_path: Path) -> None:
    some = dict(list(FILES.items())[1:])
    more = {**some, "tile/crack/001.png": (1, 0.5), "tile/crack/002.png": (1, 0.5)}
    runs = [
        read_run(write_tiny_run(tmp_path / name, files, root=root))
        for name, files, root in (("a", FILES, "/x"), ("b", more, "/y/z"))
    ]
    found = match_images(*runs)
    assert (len(found.first), found.only_first, found.only_second) == (4, 1, 2)
    assert not found.is_whole


def test_one_category_of_several_without_a_root(tmp_path: Path) -> None:
    # The lowest common folder of each run is another; that of the category is the same.
    nuts = {name: value for name, value in FILES.items() if name.startswith("nut")}
    a = write_tiny_run(tmp_path / "a", FILES, root="/x", has_root=False)
    b = write_tiny_run(tmp_path / "b", nuts, root="/y", has_root=False)
    one, other = matched_paths(a, b)
    assert one == [f"/x/{name}" for name in nuts]
    assert other == [f"/y/{name}" for name in nuts]


def test_the_same_file_in_two_categories_is_told_apart(tmp_path: Path) -> None:
    a = write_tiny_run(tmp_path / "a", {"nut/0.png": (0, 1), "tile/0.png": (1, 2)}, root="/x")
    b = write_tiny_run(tmp_path / "b", {"tile/0.png": (1, 2), "nut/0.png": (0, 1)}, root="/y")
    found = match_images(read_run(a), read_run(b))
    assert found.first.tolist() == [0, 1]
    assert found.second.tolist() == [1, 0]


def test_what_cannot_be_matched_is_refused(tmp_path: Path) -> None:
    a = read_run(write_tiny_run(tmp_path / "a", FILES))
    strange = read_run(write_tiny_run(tmp_path / "b", {"screw/good/9.png": (0, 0.1)}))
    with pytest.raises(ValueError, match=r"same images, got no image of .*a in .*b; compare runs"):
        match_images(a, strange)
    other = {**FILES, "nut/bent/000.png": (0, 0.9), "tile/crack/000.png": (0, 0.1)}
    wrong = read_run(write_tiny_run(tmp_path / "c", other))
    with pytest.raises(ValueError, match=r"one label of each image .* two of 2, such as /data/par"):
        match_images(a, wrong)
    copies = replace(a, predictions=take_rows(a.predictions, np.array([0, 0, 1])))
    with pytest.raises(ValueError, match=r"each test image once in .* cannot be told apart"):
        match_images(copies, copies)
