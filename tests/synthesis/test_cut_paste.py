from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.cut_paste import CutPaste, _rectangle, move
from clad.synthesis.pixels import turn_matrix, warp


def coordinates_image(height=120, width=160):
    """An image whose colour says where each pixel stems from."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 9)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("variant", ["patch", "scar"])
@pytest.mark.parametrize("outline", ["rectangle", "blob"])
def test_pasted_pixels_stem_from_one_place_of_the_image(variant, outline):
    image = coordinates_image()
    generator = CutPaste(variant, outline, jitter=0, rotation=0, foreground="whole")
    rows, columns = np.mgrid[:120, :160]
    for seed in range(12):
        changed, mask = generator(image, np.random.default_rng(seed))
        shifts = np.stack([changed[..., 0] - rows, changed[..., 1] - columns], axis=2)[mask]
        assert (changed[..., 2] == 9).all()
        assert len(np.unique(shifts, axis=0)) == 1
        assert np.abs(shifts[0]).max() > 0


def test_move_without_turn_is_a_shift():
    image = coordinates_image()
    moved = move(image, source=(50, 60), centre=(70, 90), angle=0)
    np.testing.assert_array_equal(moved[40:100, 50:120], image[20:80, 20:90])


def test_move_turns_about_the_source():
    image = coordinates_image()
    moved = move(image, source=(50, 60), centre=(70, 90), angle=90)
    np.testing.assert_array_equal(moved[70, 90], image[50, 60])
    np.testing.assert_array_equal(moved[60, 90], image[50, 70])


@pytest.mark.parametrize("angle", [0.0, 30.0, -70.0])
def test_rectangle_turns_as_its_content_does(angle):
    upright = np.zeros((120, 120, 3), np.uint8)
    upright[50:71, 30:91] = 255
    content = warp(upright, turn_matrix((60, 60), angle))[..., 0] > 127
    region = _rectangle((120, 120), (60, 60), np.array([20.0, 60.0]), angle)
    assert (content & region).sum() / (content | region).sum() > 0.93


def test_scars_are_thin_and_patches_are_not():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for variant, low, high in (("scar", 1.3, 35), ("patch", 0.2, 4.0)):
        generator = CutPaste(variant, "rectangle", rotation=0, foreground="whole")
        masks = [generator(image, np.random.default_rng(seed))[1] for seed in range(40)]
        shapes = [(np.ptp(np.nonzero(m)[0]) + 1, np.ptp(np.nonzero(m)[1]) + 1) for m in masks]
        assert low < np.median([height / width for height, width in shapes]) < high
        assert max(m.mean() for m in masks) < (0.02 if variant == "scar" else 0.13)


def test_jitter_changes_tone():
    image = np.random.default_rng(0).integers(60, 190, (64, 64, 3), dtype=np.uint8)
    plain = CutPaste("patch", jitter=0, rotation=0)(image, np.random.default_rng(1))[0]
    values = {tuple(pixel) for pixel in image.reshape(-1, 3)}
    assert {tuple(pixel) for pixel in plain.reshape(-1, 3)} <= values
    toned = CutPaste("patch", jitter=0.3, rotation=0)(image, np.random.default_rng(1))[0]
    assert not {tuple(pixel) for pixel in toned.reshape(-1, 3)} <= values


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "hole"}, "expected variant to be one of any, patch, scar; got 'hole'"),
        ({"outline": "star"}, "expected outline to be one of any, blob, rectangle"),
        ({"area": (0.3, 0.1)}, r"expected area to be .* got \(0.3, 0.1\)"),
        ({"jitter": 2.0}, "expected jitter"),
        ({"rotation": 300.0}, "expected rotation"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CutPaste(**settings)
