"""What every generator in configs/synthesis/ must keep; a new YAML is covered at once."""

from __future__ import annotations

import pickle
from functools import lru_cache
from pathlib import Path

import cv2
import jsonargparse
import numpy as np
import pytest
import yaml
from skimage import data

from clad.synthesis.base import Synthesizer

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "synthesis").glob("*.yaml"))
MIN_MEAN_CHANGE = 3.0


@lru_cache
def load(path):
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--synthesis", type=Synthesizer)
    settings = yaml.safe_load(path.read_text())["data"]["synthesis"]
    return parser.instantiate_classes(parser.parse_object({"synthesis": settings})).synthesis


@lru_cache
def image_named(name):
    noise = np.random.default_rng(0)
    if name in ("astronaut", "coffee", "chelsea"):
        return cv2.resize(getattr(data, name)(), (128, 128), interpolation=cv2.INTER_AREA)
    if name == "grey camera":
        grey = cv2.resize(data.camera(), (128, 128), interpolation=cv2.INTER_AREA)
        return np.repeat(grey[..., None], 3, axis=2)
    if name == "object on plain ground":
        image = np.full((96, 96, 3), 235, np.uint8)
        image[30:70, 35:60] = (90, 60, 40)
        return image
    return {
        "constant": np.full((64, 64, 3), 128, np.uint8),
        "black": np.zeros((48, 48, 3), np.uint8),
        "white": np.full((48, 48, 3), 255, np.uint8),
        "tiny": noise.integers(0, 256, (32, 32, 3), dtype=np.uint8),
        "wide": noise.integers(90, 160, (40, 150, 3), dtype=np.uint8),
        "tall": np.repeat(noise.integers(0, 256, (131, 33, 1), dtype=np.uint8), 3, axis=2),
    }[name]


IMAGES = (
    "astronaut", "coffee", "chelsea", "grey camera", "object on plain ground",
    "constant", "black", "white", "tiny", "wide", "tall",
)  # fmt: skip

each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def test_configs_are_found():
    assert len(CONFIGS) >= 8


@each_config
@pytest.mark.parametrize("name", IMAGES)
def test_output_is_an_anomaly_with_its_exact_mask(path, name):
    generator, image = load(path), image_named(name)
    before = image.copy()
    for seed in range(6):
        changed, mask = generator(image, np.random.default_rng(seed))
        assert changed.dtype == np.uint8
        assert changed.shape == image.shape
        assert mask.dtype == bool
        assert mask.shape == image.shape[:2]
        assert mask.any()
        assert not np.shares_memory(changed, image)
        np.testing.assert_array_equal(image, before, err_msg="the input was written to")
        np.testing.assert_array_equal(changed[~mask], image[~mask])
        change = np.abs(changed.astype(int) - image)[mask].mean()
        assert change >= MIN_MEAN_CHANGE, f"seed {seed}: {change:.2f} grey levels cannot be seen"


@each_config
def test_same_seed_gives_same_bytes_and_other_seeds_differ(path):
    generator, image = load(path), image_named("coffee")
    first = [generator(image, np.random.default_rng(seed)) for seed in range(8)]
    again = [generator(image, np.random.default_rng(seed)) for seed in range(8)]
    for (image_a, mask_a), (image_b, mask_b) in zip(first, again, strict=True):
        assert image_a.tobytes() == image_b.tobytes()
        assert mask_a.tobytes() == mask_b.tobytes()
    assert len({changed.tobytes() for changed, _ in first}) == 8


@each_config
def test_state_is_in_rng_only(path):
    generator, image = load(path), image_named("coffee")
    copy = pickle.loads(pickle.dumps(generator))
    generator(image, np.random.default_rng(1))
    legacy = np.random.get_state()[1].copy()
    changed, _ = generator(image, np.random.default_rng(2))
    from_copy, _ = copy(image, np.random.default_rng(2))
    assert changed.tobytes() == from_copy.tobytes()
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)


@each_config
def test_grey_images_stay_grey(path):
    generator, image = load(path), image_named("grey camera")
    for seed in range(10):
        changed, _ = generator(image, np.random.default_rng(seed))
        assert np.ptp(changed.astype(int), axis=2).max() <= 2


@each_config
def test_views_are_accepted(path):
    image = image_named("chelsea")
    turned = np.rot90(image)[:, ::-1]
    changed, mask = load(path)(turned, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[~mask], turned[~mask])


@each_config
def test_anomaly_touches_the_object_on_a_plain_background(path):
    generator, image = load(path), image_named("object on plain ground")
    is_object = image[..., 0] == 90
    for seed in range(20):
        _, mask = generator(image, np.random.default_rng(seed))
        assert (mask & is_object).any()


@each_config
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64, 3), np.float32), "expected a uint8 image.*got float32"),
        (np.zeros((64, 64), np.uint8), r"expected an image \(height, width, 3\), got \(64, 64\)"),
        (np.zeros((3, 64, 64), np.uint8), r"expected an image \(height, width, 3\), got \(3, 64"),
        (np.zeros((64, 64, 4), np.uint8), r"got \(64, 64, 4\)"),
        (np.zeros((31, 64, 3), np.uint8), r"expected sides >= 32 px, got \(31, 64\)"),
    ],
)
def test_wrong_images_are_refused(path, image, message):
    with pytest.raises(ValueError, match=message):
        load(path)(image, np.random.default_rng(0))
