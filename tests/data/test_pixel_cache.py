from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from clad.data import cache as cache_module
from clad.data.cache import PixelCache

SHAPE = (5, 7, 3)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"some file")
    return path


def pixels(value=9):
    return np.full(SHAPE, value, dtype=np.uint8)


def refuse():
    raise AssertionError("decoded again")


def test_get_makes_once_then_reads(tmp_path, source):
    cache = PixelCache(tmp_path / "cache")
    noise = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    np.testing.assert_array_equal(cache.get(source, SHAPE, lambda: noise), noise)
    again = PixelCache(tmp_path / "cache").get(source, SHAPE, refuse)
    np.testing.assert_array_equal(again, noise)
    assert again.flags.writeable
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_key_follows_file_shape_and_rule(tmp_path, source, monkeypatch):
    cache = PixelCache(tmp_path / "cache")
    entries = [cache.entry_path(source, SHAPE), cache.entry_path(source, SHAPE[:2])]
    os.utime(source, ns=(1, 1))
    entries.append(cache.entry_path(source, SHAPE))
    source.write_bytes(b"a longer file")
    os.utime(source, ns=(1, 1))
    entries.append(cache.entry_path(source, SHAPE))
    monkeypatch.setattr(cache_module, "DECODE_RULE_VERSION", -1)
    entries.append(cache.entry_path(source, SHAPE))
    assert len(set(entries)) == 5


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_damaged_entry_is_made_anew(tmp_path, source, damage):
    cache = PixelCache(tmp_path / "cache")
    cache.get(source, SHAPE, pixels)
    entry = cache.entry_path(source, SHAPE)
    content = bytearray(entry.read_bytes())
    if damage == "flip":
        content[40] ^= 1
    entry.write_bytes({"truncate": content[:-1], "flip": content, "empty": b""}[damage])
    np.testing.assert_array_equal(cache.get(source, SHAPE, lambda: pixels(4)), pixels(4))
    np.testing.assert_array_equal(cache.get(source, SHAPE, refuse), pixels(4))


def test_failure_while_making_leaves_nothing(tmp_path, source):
    cache = PixelCache(tmp_path / "cache")
    with pytest.raises(AssertionError, match="decoded again"):
        cache.get(source, SHAPE, refuse)
    assert not list((tmp_path / "cache").rglob("*.p*"))


def write_many(arguments):
    folder, source = arguments
    return [int(PixelCache(folder).get(source, SHAPE, pixels).sum()) for _ in range(50)]


@pytest.mark.slow
def test_many_processes_may_share_a_folder(tmp_path, source):
    with ProcessPoolExecutor(4) as pool:
        results = list(pool.map(write_many, [(tmp_path / "cache", source)] * 8))
    assert set(np.ravel(results)) == {int(pixels().sum())}
    assert len(list((tmp_path / "cache").rglob("*.pixels"))) == 1
