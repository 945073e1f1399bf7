from __future__ import annotations

import numpy as np
import pytest
from PIL import ExifTags, Image

from clad.data.images import (
    decode_fitting_mask,
    decode_image,
    decode_mask,
    open_rgb,
    resize_image,
    resize_mask,
    resized,
    stored_size,
)

tifffile = pytest.importorskip("tifffile")  # comes with scikit-image


def save(path, array, mode=None, **options):
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    image.save(path, **options)
    return path


@pytest.fixture
def ramp():
    return np.arange(0, 240, dtype=np.uint8).reshape(12, 20)


def test_decode_image_plain_rgb_and_grey_are_unchanged(tmp_path, ramp):
    rgb = np.stack([ramp, ramp[::-1], 255 - ramp], axis=2)
    decoded = decode_image(save(tmp_path / "rgb.png", rgb))
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, rgb)
    grey = decode_image(save(tmp_path / "grey.png", ramp))
    np.testing.assert_array_equal(grey, np.repeat(ramp[:, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_decode_image_16_bit_grey_is_divided_by_257(tmp_path, suffix):
    values = np.array([[0, 257, 128 * 257], [1000, 40000, 65535]], dtype=np.uint16)
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(values).save(path)
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(path)[:, :, 0], expected)
    assert decode_image(path).max() == 255


def test_decode_image_16_bit_rgb_is_scaled_not_saturated(tmp_path):
    values = np.zeros((4, 5, 3), dtype=np.uint16)
    values[..., 0], values[..., 1], values[..., 2] = 300, 30000, 65535
    tifffile.imwrite(tmp_path / "deep.tif", values, photometric="rgb")
    pixel = decode_image(tmp_path / "deep.tif")[0, 0].astype(int)
    np.testing.assert_allclose(pixel, [300 / 257, 30000 / 257, 255], atol=1)


def test_decode_image_32_bit_integers_use_16_bit_or_full_range(tmp_path):
    padded = np.array([[0, 30000], [65535, 257]], dtype=np.int32)
    tifffile.imwrite(tmp_path / "padded.tif", padded)
    np.testing.assert_array_equal(
        decode_image(tmp_path / "padded.tif")[:, :, 0], np.rint(padded / 257)
    )
    signed = np.array([[0, 2**30], [2**31 - 1, 2**29]], dtype=np.int32)
    tifffile.imwrite(tmp_path / "signed.tif", signed)
    np.testing.assert_array_equal(
        decode_image(tmp_path / "signed.tif")[:, :, 0], [[0, 128], [255, 64]]
    )
    unsigned = np.array([[0, 2**31], [2**32 - 1, 2**30]], dtype=np.uint32)
    tifffile.imwrite(tmp_path / "unsigned.tif", unsigned)
    np.testing.assert_array_equal(
        decode_image(tmp_path / "unsigned.tif")[:, :, 0], [[0, 128], [255, 64]]
    )
    tifffile.imwrite(tmp_path / "negative.tif", np.array([[-3, 5]], dtype=np.int32))
    with pytest.raises(ValueError, match=r"at least 0, got -3 in .*negative\.tif"):
        decode_image(tmp_path / "negative.tif")


@pytest.mark.parametrize(("top", "factor"), [(1.0, 255), (200.0, 1), (60000.0, 1 / 257)])
def test_decode_image_float_range_decides_the_factor(tmp_path, top, factor):
    values = np.linspace(0, top, 12, dtype=np.float32).reshape(3, 4)
    tifffile.imwrite(tmp_path / "float.tif", values)
    decoded = decode_image(tmp_path / "float.tif")[:, :, 0]
    np.testing.assert_array_equal(decoded, np.rint(values.astype(np.float64) * factor))


@pytest.mark.parametrize("bad", [-0.1, 70000.0, np.nan, np.inf])
def test_decode_image_float_outside_the_rules_is_refused(tmp_path, bad):
    tifffile.imwrite(tmp_path / "float.tif", np.array([[0.5, bad]], dtype=np.float32))
    with pytest.raises(ValueError, match=r"float pixels in \[0, 1\].*float\.tif"):
        decode_image(tmp_path / "float.tif")


def test_decode_image_alpha_is_composited_over_black(tmp_path):
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[..., :3] = (200, 100, 50)
    rgba[..., 3] = [[255, 0], [51, 255]]
    decoded = decode_image(save(tmp_path / "rgba.png", rgba))
    np.testing.assert_array_equal(decoded[0, 0], (200, 100, 50))
    np.testing.assert_array_equal(decoded[0, 1], (0, 0, 0))
    np.testing.assert_allclose(decoded[1, 0].astype(int), (40, 20, 10), atol=1)
    la = np.array([[[90, 255], [90, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(
        decode_image(save(tmp_path / "la.png", la))[0], [(90, 90, 90), (0, 0, 0)]
    )


def test_decode_image_palette_with_and_without_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "plain.png")
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    np.testing.assert_array_equal(
        decode_image(tmp_path / "plain.png"), [[red, green], [blue, green]]
    )
    image.save(tmp_path / "clear.png", transparency=1)
    np.testing.assert_array_equal(
        decode_image(tmp_path / "clear.png"), [[red, (0, 0, 0)], [blue, (0, 0, 0)]]
    )


def test_decode_image_one_bit_and_cmyk(tmp_path):
    bits = np.array([[True, False], [False, True]])
    save(tmp_path / "bits.png", bits)
    np.testing.assert_array_equal(decode_image(tmp_path / "bits.png")[:, :, 1], bits * 255)
    flat = np.full((16, 16, 3), (220, 30, 30), dtype=np.uint8)
    path = save(tmp_path / "cmyk.jpg", flat, mode="CMYK", quality=100)
    assert Image.open(path).mode == "CMYK"
    np.testing.assert_allclose(decode_image(path)[8, 8].astype(int), (220, 30, 30), atol=6)


def test_exif_orientation_is_applied_to_images_masks_and_sizes(tmp_path, ramp):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: turn clockwise by 90 degrees
    upright = np.rot90(ramp, k=-1)
    path = save(tmp_path / "turned.png", ramp, exif=exif)
    np.testing.assert_array_equal(decode_image(path)[:, :, 0], upright)
    assert stored_size(path) == upright.shape == (20, 12)
    mask = save(tmp_path / "mask.png", (ramp > 100).astype(np.uint8) * 255, exif=exif)
    np.testing.assert_array_equal(decode_mask(mask), upright > 100)
    np.testing.assert_array_equal(decode_fitting_mask(mask, path), upright > 100)


@pytest.mark.parametrize("content", [b"", b"not an image at all", None])
def test_decode_image_unreadable_file_is_one_clear_sentence(tmp_path, content, ramp):
    path = tmp_path / "broken.png"
    if content is None:
        big = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        content = save(tmp_path / "whole.png", big).read_bytes()[:3000]
    path.write_bytes(content)
    for decode in (decode_image, decode_mask):
        with pytest.raises(ValueError, match=r"expected an image, got .*broken\.png") as caught:
            decode(path)
        assert "\n" not in str(caught.value)


def test_decode_image_truncated_jpeg_is_refused(tmp_path):
    big = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = save(tmp_path / "whole.jpg", big).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"corrupt, truncated .*cut\.jpg.*copy it again"):
        decode_image(tmp_path / "cut.jpg")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing at .*absent\.png"):
        decode_image(tmp_path / "absent.png")
    with pytest.raises(FileNotFoundError, match=r"nothing at .*absent\.png"):
        stored_size(tmp_path / "absent.png")


def test_decode_mask_any_depth_is_true_where_not_zero(tmp_path):
    truth = np.array([[0, 1, 0], [1, 1, 0]], dtype=bool)
    for name, array in {
        "ones.png": truth.astype(np.uint8),
        "full.png": truth.astype(np.uint8) * 255,
        "bits.png": truth,
        "deep.png": truth.astype(np.uint16) * 3,
        "rgb.png": np.stack([truth * 0, truth * 0, truth * 1], axis=2).astype(np.uint8),
    }.items():
        np.testing.assert_array_equal(decode_mask(save(tmp_path / name, array)), truth)
    tifffile.imwrite(tmp_path / "float.tif", truth.astype(np.float32) * 0.001)
    np.testing.assert_array_equal(decode_mask(tmp_path / "float.tif"), truth)


def test_decode_mask_palette_counts_by_colour_not_by_index(tmp_path):
    indices = np.array([[0, 1], [1, 0]], dtype=np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "mask.png"), indices == 0)


def test_decode_mask_jpeg_noise_is_not_anomalous(tmp_path):
    truth = np.zeros((48, 48), dtype=bool)
    truth[13:35, 9:31] = True
    path = save(tmp_path / "mask.jpg", truth.astype(np.uint8) * 255, quality=60)
    assert (np.asarray(Image.open(path)) > 0).sum() > truth.sum()
    np.testing.assert_array_equal(decode_mask(path), truth)


def test_resize_mask_is_nearest_and_sizes_are_height_width():
    mask = np.random.default_rng(0).random((40, 60)) < 0.3
    rows = (np.arange(20) + 0.5) * 2
    columns = (np.arange(15) + 0.5) * 4
    expected = mask[rows.astype(int)][:, columns.astype(int)]
    resized = resize_mask(mask, (20, 15))
    assert resized.shape == (20, 15)
    assert resized.dtype == bool
    np.testing.assert_array_equal(resized, expected)


def test_resize_image_averages_when_shrinking():
    checkers = (np.indices((64, 96)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = np.repeat(checkers[:, :, None], 3, axis=2)
    resized = resize_image(image, (16, 12))
    assert resized.shape == (16, 12, 3)
    assert resized.dtype == np.uint8
    assert abs(resized.astype(int) - 127).max() <= 12


def test_resize_to_the_same_size_changes_nothing(ramp):
    image = np.repeat(ramp[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(resize_image(image, ramp.shape), image)


def test_mask_of_another_size_names_both_sizes_and_the_path(tmp_path, ramp):
    image = save(tmp_path / "003.png", ramp)
    mask = save(tmp_path / "003_mask.png", np.ascontiguousarray(ramp.T))
    with pytest.raises(
        ValueError, match=r"mask \(20, 12\) differs from image \(12, 20\) in .*003\.png"
    ):
        decode_fitting_mask(mask, image)


def written(folder, kind, photo):
    """The photo as a file of this kind, and its pixels by Pillow's own steps."""
    image, path = Image.fromarray(photo), folder / f"{kind}.png"
    if kind == "grey":
        image.convert("L").save(path)
        return path, Image.open(path).convert("RGB")
    if kind == "alpha":
        layer = image.convert("RGBA")
        layer.putalpha(Image.fromarray(photo[..., 0]))
        layer.save(path)
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return path, Image.alpha_composite(black, Image.open(path)).convert("RGB")
    if kind == "palette":
        image.quantize(16).save(path)
        return path, Image.open(path).convert("RGB")
    if kind == "deep":
        Image.fromarray(photo[..., 0].astype(np.uint16) * 257).save(path)
        return path, Image.fromarray(photo[..., 0]).convert("RGB")
    if kind == "cmyk":
        path = path.with_suffix(".jpg")
        image.convert("CMYK").save(path)
        return path, Image.open(path).convert("RGB")
    if kind == "rotated":
        path = path.with_suffix(".jpg")
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        image.save(path, exif=exif)
        return path, Image.open(path).transpose(Image.Transpose.ROTATE_270)
    image.save(path)
    return path, Image.open(path)


@pytest.mark.parametrize("kind", ["plain", "grey", "alpha", "palette", "deep", "cmyk", "rotated"])
def test_every_way_to_the_pixels_gives_those_of_pillow(tmp_path, kind):
    photo = np.random.default_rng(5).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    path, expected = written(tmp_path, kind, photo)
    np.testing.assert_array_equal(decode_image(path), np.asarray(expected))
    small = np.asarray(expected.resize((20, 12), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resized(open_rgb(path), (12, 20)), small)
    np.testing.assert_array_equal(resize_image(decode_image(path), (12, 20)), small)
    whole = resized(open_rgb(path), stored_size(path))
    np.testing.assert_array_equal(whole, np.asarray(expected))
    assert whole.flags.writeable
