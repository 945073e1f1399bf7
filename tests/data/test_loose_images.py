"""Loose images: decoded ahead, in order, in bounded memory, and once where there is a cache."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clad.data import loose_images
from clad.data.cache import PixelCache
from clad.data.images import open_rgb
from clad.data.loose_images import Loading, batches_of, load_in_chunks

SIZE = (8, 12)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Eight photos of different sizes, each of one colour of its own."""
    paths = []
    for number in range(8):
        paths.append(tmp_path / f"{number}.png")
        photo = np.full((20 + number, 40, 3), (number, 100, 200), dtype=np.uint8)
        Image.fromarray(photo).save(paths[-1])
    return paths


def all_of(images, how: Loading, most: int = 3, on_unreadable=None):
    return [each for chunk in load_in_chunks(images, how, most, on_unreadable) for each in chunk]


def test_order_names_sizes_and_pictures(files):
    chunks = list(load_in_chunks(files, Loading(SIZE, picture_px=10), 3))
    assert [len(chunk) for chunk in chunks] == [3, 3, 2]
    for number, image in enumerate(each for chunk in chunks for each in chunk):
        assert image.name == str(files[number])
        assert image.image_size == (20 + number, 40)
        assert image.pixels.shape == (*SIZE, 3)
        assert (image.pixels == (number, 100, 200)).all()
        assert image.picture.shape == (round((20 + number) / 4), 10)
        assert (image.picture == round(0.299 * number + 0.587 * 100 + 0.114 * 200)).all()
    assert all(each.picture is None for each in all_of(files, Loading(SIZE)))


def test_batches_of_keep_the_order(files):
    loaded = all_of(files, Loading(SIZE))
    batches = list(batches_of(loaded, 5, "nut"))
    assert [len(batch.paths) for batch in batches] == [5, 3]
    assert [path for batch in batches for path in batch.paths] == [str(p) for p in files]
    assert batches[1].images[0, 0, 0, 0] == 5


def test_the_next_chunk_is_decoded_while_the_first_is_worked_on_and_no_more(files, monkeypatch):
    opened: list[Path] = []
    is_ahead = threading.Event()

    def noting(path: Path):
        opened.append(path)
        if len(opened) == 4:
            is_ahead.set()
        return open_rgb(path)

    monkeypatch.setattr(loose_images, "open_rgb", noting)
    taken: list[Path] = []

    def asked() -> Iterator[Path]:
        for path in files:
            taken.append(path)
            yield path

    chunks = load_in_chunks(asked(), Loading(SIZE), 2)
    next(chunks)
    assert is_ahead.wait(5), "the second chunk is decoded without being asked for"
    assert sorted(opened) == files[:4]
    assert taken == files[:4], "at most two chunks are ahead of whoever works on them"
    chunks.close()
    assert len(opened) == 4


def test_unreadable_files_are_told_in_order_and_left_out(files):
    files[1].write_bytes(b"")
    files[6].write_bytes(b"no image")
    told: list[str] = []
    found = all_of(files, Loading(SIZE), 2, lambda name, error: told.append(name))
    assert told == [str(files[1]), str(files[6])]
    assert [each.name for each in found] == [str(p) for n, p in enumerate(files) if n not in (1, 6)]


def test_without_anybody_to_tell_the_chunks_before_come_first(files):
    files[5].write_bytes(b"")
    chunks = load_in_chunks(files, Loading(SIZE), 2)
    assert [each.name for _ in range(2) for each in next(chunks)] == [str(p) for p in files[:4]]
    with pytest.raises(ValueError, match=r"empty file \(0 bytes\) at .*5\.png"):
        next(chunks)


def test_an_error_of_the_callers_iterator_comes_after_what_it_gave(files):
    def broken() -> Iterator[Path]:
        yield from files[:2]
        raise RuntimeError("no more")

    chunks = load_in_chunks(broken(), Loading(SIZE), 2)
    assert len(next(chunks)) == 2
    with pytest.raises(RuntimeError, match="no more"):
        next(chunks)


def test_a_missing_file_is_named(tmp_path):
    for cache in (None, PixelCache(tmp_path / "cache")):
        with pytest.raises(FileNotFoundError, match=r"found nothing at .*absent"):
            all_of([tmp_path / "absent.png"], Loading(SIZE, cache=cache))


@pytest.mark.parametrize("picture_px", [None, 10])
def test_a_warm_cache_opens_no_image(files, tmp_path, monkeypatch, picture_px):
    how = Loading(SIZE, picture_px, PixelCache(tmp_path / "cache"))
    fresh = all_of(files, how)
    monkeypatch.setattr(loose_images, "open_rgb", None)
    monkeypatch.setattr(Image, "open", None)
    for old, new in zip(fresh, all_of(files, how), strict=True):
        assert (old.name, old.image_size) == (new.name, new.image_size)
        np.testing.assert_array_equal(old.pixels, new.pixels)
        if picture_px is None:
            assert new.picture is None
        else:
            np.testing.assert_array_equal(old.picture, new.picture)


def test_a_changed_file_another_size_and_a_torn_entry_are_decoded_anew(files, tmp_path):
    cache = PixelCache(tmp_path / "cache")
    how = Loading(SIZE, 10, cache)
    first = all_of(files[:1], how)
    Image.fromarray(np.full((30, 30, 3), 9, dtype=np.uint8)).save(files[0])
    assert all_of(files[:1], how)[0].image_size == (30, 30)
    other = all_of(files[:1], Loading((4, 4), 10, cache))[0]
    assert other.pixels.shape == (4, 4, 3)
    assert all_of(files[:1], Loading(SIZE, 5, cache))[0].picture.shape == (5, 5)
    for entry in cache.folder.rglob("*.pixels"):
        entry.write_bytes(entry.read_bytes()[:-3])
    again = all_of(files[:1], how)[0]
    assert (again.pixels == 9).all()
    assert first[0].image_size == (20, 40)


def test_arrays_and_pil_images_are_not_cached(tmp_path):
    cache = PixelCache(tmp_path / "cache")
    photo = np.zeros((10, 20, 3), dtype=np.uint8)
    found = all_of([photo, Image.fromarray(photo)], Loading(SIZE, 8, cache))
    assert [each.name for each in found] == ["image 1", "image 2"]
    assert found[0].picture.shape == (4, 8)
    assert not cache.folder.exists()
