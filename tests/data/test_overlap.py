from __future__ import annotations

import pytest

from clad.data.overlap import expect_no_copies, find_copies
from clad.samples import Sample


def write(folder, **contents):
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def test_copies_are_found_by_content_whatever_the_name(tmp_path):
    first = write(tmp_path / "a", one=b"abc", two=b"xyz", twin=b"abc", large=b"abcd")
    second = write(tmp_path / "b", other=b"abz", copy=b"abc", empty=b"", xyz=b"xyz")
    assert find_copies(first, second) == [(first[0], second[1]), (first[1], second[3])]
    assert find_copies(first, second[:1]) == []
    assert find_copies([], second) == []


def test_files_of_other_sizes_are_not_read(tmp_path):
    (only,) = write(tmp_path / "a", one=b"abc")
    unreadable = tmp_path / "folder"
    unreadable.mkdir()  # reading it would fail
    assert find_copies([only], [unreadable]) == []
    assert find_copies([unreadable], [only]) == []


def test_message_names_both_sets_and_an_example(tmp_path):
    (one,) = write(tmp_path / "a", one=b"abc")
    (copy,) = write(tmp_path / "b", copy=b"abc")
    first, second = [Sample(one, 0, "nut")], [Sample(copy, 1, "tile", "cut")]
    with pytest.raises(ValueError, match=r"visa and mine to share no image, got 1 in both.*copy;"):
        expect_no_copies("visa", first, "mine", second)
    expect_no_copies("visa", first, "mine", [])
