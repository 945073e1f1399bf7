"""Features go to disk and come back bit by bit, by the content of the image file."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.data.datamodule import AnomalyDataModule
from clad.data.feature_store import (
    FeatureStore,
    Layout,
    content_digests,
    folder_bytes,
    join_features,
    read_layout,
    split_features,
    write_layout,
)
from clad.data.mvtec_ad import MVTecAD
from clad.types import ImageFeatures


def rich_features() -> ImageFeatures:
    """Everything that features may hold, in several types."""
    plain = FakeTower().encode_image(fake_batch().images)
    assert plain.pooled is not None
    windows = torch.nn.functional.normalize(torch.randn(4, 9, 16), dim=-1)
    return replace(
        plain,
        summary=plain.summary.bfloat16(),
        patch_grids=((4, 4), (2, 2)),
        windows=(windows,),
        window_sides=(2,),
        context=plain.pooled,
    )


def assert_same(found: ImageFeatures, wanted: ImageFeatures) -> None:
    for field in fields(ImageFeatures):
        one, other = (getattr(each, field.name) for each in (found, wanted))
        if not isinstance(one, tuple):
            one, other = (one,), (other,)
        assert len(one) == len(other), field.name
        for a, b in zip(one, other, strict=True):
            same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
            assert same, field.name
            assert not isinstance(a, torch.Tensor) or a.dtype == b.dtype


def store_of(folder, num_files=4) -> FeatureStore:
    paths = [folder / f"{n}.png" for n in range(num_files)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes([n]))
    layout = Layout.of(rich_features(), "exact")
    return FeatureStore(folder / "store", layout, content_digests(paths))


def test_entries_make_the_round_trip_bit_by_bit(tmp_path):
    wanted, store = rich_features(), store_of(tmp_path)
    for path, one in zip(store.digests, split_features(wanted), strict=True):
        assert not store.has(path)
        store.put(path, one)
        assert store.has(path)
        assert store.entry_path(path).stat().st_size == store.layout.num_file_bytes
    assert_same(join_features([store.get(path) for path in store.digests]), wanted)
    assert folder_bytes(tmp_path / "store") == 4 * store.layout.num_file_bytes
    assert not list(tmp_path.rglob("*.part"))


def test_half_rounds_wide_floats_only_and_gives_their_type_back(tmp_path):
    wanted = rich_features()
    layout = Layout.of(wanted, "half")
    content = layout.pack(split_features(wanted)[1])
    whole = Layout.of(wanted, "exact").num_bytes
    assert layout.num_bytes == len(content) == (whole - 2 * 12) / 2 + 2 * 12
    found = layout.unpack(torch.frombuffer(bytearray(content), dtype=torch.uint8).numpy())
    assert torch.equal(found.summary, wanted.summary[1:2])
    assert torch.equal(found.tokens[0], wanted.tokens[0][1:2].half().float())


def test_layout_makes_the_round_trip_and_nothing_else_is_taken_for_one(tmp_path):
    layout = Layout.of(rich_features(), "half")
    write_layout(tmp_path / "there", layout)
    assert read_layout(tmp_path / "there") == layout
    assert read_layout(tmp_path / "gone") is None
    for text in ("", "{}", "[]", '{"tensors": 1}'):
        (tmp_path / "there/layout.json").write_text(text)
        assert read_layout(tmp_path / "there") is None


def test_digests_follow_content_and_decode_rule(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in "abc"]
    for path, content in zip(paths, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(content)
    found = content_digests([*paths, paths[0]])
    assert list(found) == paths
    assert found[paths[0]] == found[paths[1]] != found[paths[2]]
    monkeypatch.setattr("clad.data.feature_store.DECODE_RULE_VERSION", 99)
    assert not set(found.values()) & set(content_digests(paths).values())


def test_a_missing_or_damaged_entry_is_refused(tmp_path):
    store, features = store_of(tmp_path), split_features(rich_features())[0]
    path = next(iter(store.digests))
    with pytest.raises(ValueError, match=r"expected the features of .*0\.png in .* intact; start"):
        store.get(path)
    store.put(path, features)
    entry = store.entry_path(path)
    entry.write_bytes(entry.read_bytes()[:-1] + b"\0")
    with pytest.raises(ValueError, match="found none that are intact"):
        store.get(path)


def test_loaders_bring_features_masks_and_labels_without_decoding(tmp_path, monkeypatch):
    MVTecAD().write_tiny(tmp_path)
    module = AnomalyDataModule(MVTecAD(), tmp_path, image_size=32, num_workers=0)
    plain = next(iter(module.val_dataloader()))
    samples = (*module.splits.train, *module.splits.validation)
    encoded = FakeTower().encode_image(plain.images)
    digests = content_digests(sample.image_path for sample in samples)
    store = FeatureStore(tmp_path / "store", Layout.of(encoded, "exact"), digests)
    for sample, one in zip(module.splits.validation, split_features(encoded), strict=True):
        store.put(sample.image_path, one)
    module.use_features(store)
    monkeypatch.setattr("clad.data.dataset.open_rgb", None)
    found = next(iter(module.val_dataloader()))
    assert found.images.shape == (len(plain), 3, 0, 0)
    assert_same(found.features, encoded)
    for name in ("labels", "masks", "has_mask"):
        assert torch.equal(getattr(found, name), getattr(plain, name))
    assert (found.paths, found.categories) == (plain.paths, plain.categories)
    monkeypatch.undo()
    module.use_features(None)
    assert torch.equal(next(iter(module.val_dataloader())).images, plain.images)


def test_test_images_are_never_read_from_a_store(tmp_path):
    MVTecAD().write_tiny(tmp_path)
    module = AnomalyDataModule(MVTecAD(), tmp_path, image_size=32, num_workers=0)
    module.use_features(store_of(tmp_path))
    assert next(iter(module.test_dataloader())).features is None
