"""Training with features that were encoded once: same losses, nothing stale, nothing in silence."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
import torch
from fakes import FakeTower
from lightning.pytorch import Callback, seed_everything
from tiny_runs import make_data, make_trainer, text_recipe, write_images

from clad.data.tiny import normal_texture, save
from clad.heads.fused import Fused
from clad.heads.image_text import ImageText
from clad.heads.normal_memory import NormalMemory
from clad.heads.patch_text import PatchText
from clad.inputs.base import InputTransform
from clad.losses.image_cross_entropy import ImageCrossEntropy
from clad.losses.reconstruction import Reconstruction
from clad.prompts.single_pair import SinglePair
from clad.synthesis.blobs import Blobs
from clad.tasks.feature_cache import FeatureCache
from clad.tuning.full import Full

pytestmark = pytest.mark.filterwarnings("ignore")

NUM_IMAGES = 40
"""Training and validation images of ``write_images``."""


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "images")
    return tmp_path / "images"


class CountingTower(FakeTower):
    """Counts the images that it encodes."""

    num_encoded = 0

    def encode_pixels(self, pixels):
        type(self).num_encoded += len(pixels)
        return super().encode_pixels(pixels)


@pytest.fixture(autouse=True)
def count():
    CountingTower.num_encoded = 0


class Losses(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(outputs.get("loss", torch.zeros(())).detach()))


def run(root, cache=None, tower=None, data=None, trainer=None, **parts):
    """Losses of a short training on plain images, and the task."""
    seed_everything(1, verbose=False)
    losses = Losses()
    tower = CountingTower(aligned=False) if tower is None else tower
    task = text_recipe(tower=tower, feature_cache=cache, **({"head": PatchText()} | parts))
    settings = {"max_epochs": 1, "callbacks": [losses]} | (trainer or {})
    make_trainer(**settings).fit(
        task, datamodule=make_data(root, **({"synthesis": None} | (data or {})))
    )
    return np.array(losses.values), task


def entries(folder):
    return sorted(folder.rglob("*.features"))


def test_losses_scores_and_thresholds_are_those_of_encoding_every_time(shared_root, tmp_path):
    heads = [Fused([ImageText(), PatchText(), NormalMemory(size=60)]) for _ in range(2)]
    epochs = {"max_epochs": 4}
    plain, plain_task = run(shared_root, trainer=epochs, head=heads[0])
    found, task = run(shared_root, FeatureCache(tmp_path), trainer=epochs, head=heads[1])
    assert len(found) == len(plain) == 12
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-6)
    assert plain[-1] < 0.1 * plain[0]
    for category, threshold in plain_task.thresholds.items():
        assert task.thresholds[category] == pytest.approx(threshold, abs=1e-5)
    weights = zip(plain_task.state_dict().items(), task.state_dict().values(), strict=True)
    for (name, before), after in weights:
        torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4, msg=name)


def test_each_image_is_encoded_once_and_not_again_by_the_next_run(shared_root, tmp_path):
    cache, epochs = FeatureCache(tmp_path), {"max_epochs": 3}
    run(shared_root, trainer=epochs)
    assert CountingTower.num_encoded == 3 * 24 + 16
    CountingTower.num_encoded = 0
    run(shared_root, cache, trainer=epochs)
    assert CountingTower.num_encoded == len(entries(tmp_path)) == NUM_IMAGES
    run(shared_root, cache)
    assert CountingTower.num_encoded == NUM_IMAGES


def test_loader_processes_read_the_same(shared_root, tmp_path):
    cache = FeatureCache(tmp_path)
    alone, _ = run(shared_root, cache)
    together, _ = run(shared_root, cache, data={"num_workers": 2})
    np.testing.assert_array_equal(together, alone)


def test_another_content_is_encoded_anew_and_a_copy_is_not(root, tmp_path):
    cache = FeatureCache(tmp_path / "cache")
    run(root, cache)
    CountingTower.num_encoded = 0
    (first, second), *_ = [sorted((root / "tile/train/good").iterdir())[:2]]
    save(normal_texture(np.random.default_rng(99)), first)
    run(root, cache)
    assert CountingTower.num_encoded == 1
    second.write_bytes(first.read_bytes())
    run(root, cache)
    assert CountingTower.num_encoded == 1


@pytest.mark.parametrize(
    "change",
    [
        {"tower": CountingTower(aligned=False, seed=1)},
        {"tower": CountingTower(image_size=(64, 64), aligned=False)},
        {"data": {"image_size": 48}},
        {"trainer": {"precision": "bf16-mixed"}},
    ],
    ids=["weights", "tower", "transform", "precision"],
)
def test_another_tower_transform_or_precision_is_encoded_anew(shared_root, tmp_path, change):
    cache = FeatureCache(tmp_path)
    run(shared_root, cache)
    CountingTower.num_encoded = 0
    run(shared_root, cache, **change)
    assert CountingTower.num_encoded == NUM_IMAGES
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_entries_are_made_anew(shared_root, tmp_path, damage):
    cache = FeatureCache(tmp_path)
    plain, _ = run(shared_root, cache)
    CountingTower.num_encoded = 0
    entry = entries(tmp_path)[3]
    content = bytearray(entry.read_bytes())
    content[40] ^= 1
    entry.write_bytes(content if damage == "flip" else content[:-1])
    if damage == "remove":
        entry.unlink()
    again, _ = run(shared_root, cache)
    np.testing.assert_allclose(again, plain, rtol=0, atol=1e-6)
    assert CountingTower.num_encoded == 1


def test_damaged_layout_makes_everything_anew(shared_root, tmp_path):
    cache = FeatureCache(tmp_path)
    run(shared_root, cache)
    CountingTower.num_encoded = 0
    (layout,) = tmp_path.rglob("layout.json")
    layout.write_text("{}")
    run(shared_root, cache)
    assert CountingTower.num_encoded == NUM_IMAGES


def test_disk_is_stated_before_and_held(shared_root, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run(shared_root, FeatureCache(tmp_path, max_gib=0.5))
    said = next(r.message for r in caplog.records if "feature cache" in r.message)
    assert re.search(
        r"40 images x 0\.74 KiB = 29\.53 KiB, 40 of them to encode; "
        r".* will hold 29\.53 KiB, at most 0\.5 GiB",
        said,
    )
    # 16 tokens of 8 and 4 of 12 channels, a summary of 12, in float32, and a check of 4 bytes.
    sizes = {entry.stat().st_size for entry in entries(tmp_path)}
    assert sizes == {4 * (16 * 8 + 4 * 12 + 12) + 4}


def test_more_than_the_limit_is_refused_before_anything_is_kept(shared_root, tmp_path):
    with pytest.raises(ValueError, match=r"expected at most 1e-05 GiB of features in .*raise"):
        run(shared_root, FeatureCache(tmp_path, max_gib=1e-5))
    assert not entries(tmp_path)
    assert CountingTower.num_encoded < NUM_IMAGES


def test_what_other_runs_left_counts(shared_root, tmp_path):
    (tmp_path / "other").write_bytes(bytes(1_000_000))
    with pytest.raises(ValueError, match=r"got 0\.95 MiB there and 29\.53 KiB to come"):
        run(shared_root, FeatureCache(tmp_path, max_gib=0.00095))


def test_a_full_disk_is_refused(shared_root, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("clad.tasks.feature_cache.shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        ValueError, match=r"expected 29\.53 KiB free for features in .*, got 0\.98 KiB; choose"
    ):
        run(shared_root, FeatureCache(tmp_path))


def test_half_precision_takes_half_the_disk_and_stays_close(shared_root, tmp_path):
    exact, _ = run(shared_root, FeatureCache(tmp_path / "exact"))
    half, _ = run(shared_root, FeatureCache(tmp_path / "half", precision="half"))
    sizes = [entries(tmp_path / name)[0].stat().st_size - 4 for name in ("exact", "half")]
    assert sizes[0] == 2 * sizes[1]
    assert 0 < np.abs(half - exact).max() < 0.01


def test_half_precision_refuses_what_it_cannot_hold(shared_root, tmp_path):
    class Loud(FakeTower):
        def encode_pixels(self, pixels):
            return super().encode_pixels(pixels).map(lambda t: t * 1e6)

    cache = FeatureCache(tmp_path, precision="half")
    with pytest.raises(ValueError, match=r"tokens within float16's range for precision half"):
        run(shared_root, cache, tower=Loud(aligned=False))


def test_patches_are_kept_where_the_adapter_reads_them(shared_root, tmp_path):
    tower = CountingTower()
    parts = {"head": ImageText(), "adapter": None, "losses": []}
    _, task = run(shared_root, FeatureCache(tmp_path), tower, **parts)
    (size,) = {entry.stat().st_size for entry in entries(tmp_path)}
    numbers: list[int] = []
    whole = tower.encode_image(torch.zeros(1, 3, 32, 32))
    whole.map(lambda tensor: numbers.append(tensor.numel()) or tensor)
    assert whole.patches is not None
    assert size == 4 * sum(numbers) + 4
    _, plain = run(shared_root, None, tower, **parts)
    assert task.thresholds == pytest.approx(plain.thresholds)


class Darker(InputTransform):
    def forward(self, pixels):
        return pixels - 1


class Differentiating(ImageText):
    needs_gradients = True


class PerImage(SinglePair):
    per_image = True


@pytest.mark.parametrize(
    ("parts", "data", "what"),
    [
        ({"inputs": Darker()}, {}, "model.inputs, which changes pixels"),
        ({"tuning": Full()}, {}, "a tower that learns"),
        (
            {"head": Differentiating()},
            {},
            "Differentiating, which differentiates through the tower",
        ),
        ({"prompts": PerImage()}, {}, "PerImage, which looks at each image"),
        (
            {"losses": [ImageCrossEntropy(), Reconstruction(image_target="thumbnail")]},
            {},
            "reconstruction, which compares pixels",
        ),
        ({}, {"synthesis": Blobs()}, r"data\.synthesis Blobs; leave one"),
        ({}, {"augmentation": ("rotate90",)}, r"data\.augmentation \['rotate90'\]; leave one"),
    ],
    ids=["inputs", "tuning", "gradients", "per_image", "pixel_loss", "synthesis", "augmentation"],
)
def test_features_that_change_are_refused_in_a_sentence(shared_root, tmp_path, parts, data, what):
    with pytest.raises(ValueError, match=what):
        run(shared_root, FeatureCache(tmp_path), data=data, **parts)
    assert CountingTower.num_encoded == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_gib": -1}, r"expected feature_cache.max_gib in \[0, inf\], got -1"),
        ({"precision": "quarter"}, "expected feature_cache.precision to be one of exact, half"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        FeatureCache(tmp_path, **settings)
