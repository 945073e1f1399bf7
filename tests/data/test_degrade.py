"""Degradations: uint8 in, uint8 out, against slow references, and the same for the same seed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from clad.data.degrade import (
    LEVELS,
    Degradation,
    add_noise,
    blur,
    degrade,
    jpeg,
    jpeg_twice,
    list_degradations,
    rescale,
    video,
    webp,
)
from clad.data.degraded import DegradedDataset, draw_samples
from clad.data.images import decode_image, resize_image
from clad.data.tiny import normal_texture, save
from clad.samples import Sample


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Odd sides, smooth colours and a little grain."""
    rng = np.random.default_rng(0)
    return gaussian_filter(rng.integers(0, 256, (53, 38, 3)), (2, 2, 0)).astype(np.uint8)


def far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_levels_are_those_of_the_protocol() -> None:
    assert LEVELS["jpeg"] == (95, 90, 75, 60, 50, 40, 30)
    assert LEVELS["blur"] == (0.5, 1, 2, 3)
    assert LEVELS["noise"] == (2, 5, 10, 20)
    assert LEVELS["resize"] == (0.75, 0.5, 0.25)
    assert len(list_degradations()) == 21
    assert [each.name for each in list_degradations(["reencode", "resize"])] == [
        "resize 0.75", "resize 0.5", "resize 0.25", "jpeg twice", "webp", "video",
    ]  # fmt: skip


@pytest.mark.parametrize("degradation", list_degradations(), ids=lambda each: each.name)
def test_every_degradation_keeps_size_and_type_and_input(
    picture: np.ndarray, degradation: Degradation
) -> None:
    before = picture.copy()
    found = degrade(picture, degradation, seed=3)
    assert found.shape == picture.shape
    assert found.dtype == np.uint8
    assert 0 < far(found, picture) < 40
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(found, degrade(picture, degradation, seed=3))


@pytest.mark.parametrize("kind", ["jpeg", "blur", "noise", "resize"])
def test_levels_go_from_weak_to_strong(picture: np.ndarray, kind: str) -> None:
    distances = [far(degrade(picture, each), picture) for each in list_degradations([kind])]
    assert distances == sorted(distances)


def test_jpeg_is_what_a_file_of_that_quality_holds(picture: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=40, subsampling=2)
    np.testing.assert_array_equal(jpeg(picture, 40), np.array(Image.open(buffer)))


def test_the_second_jpeg_uses_a_shifted_grid(picture: np.ndarray) -> None:
    aligned = jpeg(jpeg(picture, 90), 75)
    assert far(jpeg_twice(picture), aligned) > 0.5
    assert far(jpeg_twice(picture), picture) < 12


@pytest.mark.parametrize("sigma", [0.5, 1, 2, 3])
def test_blur_is_a_gaussian_in_pixels(picture: np.ndarray, sigma: float) -> None:
    slow = gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0), mode="mirror")
    assert np.abs(blur(picture, sigma) - slow).max() < 1.01
    np.testing.assert_array_equal(blur(picture, 0), picture)


def test_noise_has_the_deviation_it_says_and_is_one_pattern() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for sigma in (2, 5, 10, 20):
        change = add_noise(grey, sigma).astype(float) - 128
        assert change.std() == pytest.approx(sigma, rel=0.02)
        assert abs(change.mean()) < 0.1
    weak, strong = (add_noise(grey, sigma).astype(float) - 128 for sigma in (5, 20))
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    assert far(add_noise(grey, 5, seed=1), add_noise(grey, 5, seed=2)) > 1
    other = add_noise(grey + np.uint8(1), 5)
    assert np.abs(np.corrcoef(other.ravel(), add_noise(grey, 5).ravel())[0, 1]) < 0.02


def test_noise_is_cut_at_black_and_white() -> None:
    black = np.zeros((40, 40, 3), np.uint8)
    found = add_noise(black, 20)
    assert found.max() > 20
    assert (found == 0).mean() == pytest.approx(0.5, abs=0.05)


def test_rescale_loses_what_is_finer_than_the_small_picture() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (32, 16))[:, :, None].repeat(3, axis=2)
    assert rescale(stripes, 0.25)[:, 4:-4].std() < 10 < stripes.std()
    one = np.full((1, 1, 3), 7, np.uint8)
    np.testing.assert_array_equal(rescale(one, 0.25), one)


def test_webp_and_video_are_lossy_but_near(picture: np.ndarray) -> None:
    for found in (webp(picture), video(picture)):
        assert 0 < far(found, picture) < 12


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        ("fog", 1, r"expected kind of degradation to be one of blur, jpeg, .*; got 'fog'"),
        ("jpeg", 0, r"expected level of jpeg in \[1, 100\], got 0"),
        ("blur", "webp", r"expected a number as level of blur, got 'webp'"),
        ("reencode", "gif", r"expected way of encoding to be one of .*; got 'gif'"),
    ],
)
def test_unknown_degradations_are_refused(kind: str, level: float | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Degradation(kind, level)


def test_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one kind of jpeg, blur"):
        list_degradations([])


def test_images_are_degraded_at_their_stored_size(tmp_path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "a.png"
    save(normal_texture(rng), path)
    hard = Degradation("jpeg", 30)
    item = DegradedDataset([Sample(path, 0, "face")], (32, 32), hard)[0]
    stored = decode_image(path)
    np.testing.assert_array_equal(item.image, resize_image(degrade(stored, hard), (32, 32)))
    assert far(item.image, degrade(resize_image(stored, (32, 32)), hard)) > 0
    plain = DegradedDataset([Sample(path, 0, "face")], (32, 32))[0]
    np.testing.assert_array_equal(plain.image, resize_image(stored, (32, 32)))


def test_a_limit_keeps_the_share_of_labels_and_whole_videos(tmp_path) -> None:
    samples = [Sample(tmp_path / f"{i}.png", int(i < 30), "face", group=f"v{i // 2}")
               for i in range(90)]  # fmt: skip
    drawn = draw_samples(samples, 30, seed=0)
    assert sum(each.label for each in drawn) == 10
    assert len(drawn) == 30
    assert all(list(each.group for each in drawn).count(s.group) == 2 for s in drawn)
    assert draw_samples(samples, None, 0) == draw_samples(samples, 90, 0) == tuple(samples)
    with pytest.raises(ValueError, match="expected a limit of at least 1 image, got 0"):
        draw_samples(samples, 0, 0)
