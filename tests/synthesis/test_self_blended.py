"""Self-blended images: what is drawn when, and the steps put together."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_faces import People, astronaut, drawn_face

from clad.synthesis.base import FacePhoto
from clad.synthesis.face_parts import SHIFT, TURN_DEGREES, ZOOM, blend_parts, part_matrix
from clad.synthesis.face_regions import face_box, face_region, part_region
from clad.synthesis.face_warp import mirrored
from clad.synthesis.self_blended import SelfBlended, crop_window, draw_source_change

PLAIN = {"jpeg_probability": 0.0, "flip_probability": 0.0}


def forge(generator, face, seed):
    return generator.forge(face, People(), np.random.default_rng(seed))


def test_bare_blend_is_the_weighted_mean_of_the_photo_and_its_changed_copy(monkeypatch):
    # Without a move, what is pasted is the changed photo, weighed by at most the ratio.
    monkeypatch.setattr("clad.synthesis.self_blended.SHIFT", (0.0, 0.0))
    monkeypatch.setattr("clad.synthesis.self_blended.ZOOM", 1.0)
    face = drawn_face(1)
    made = forge(SelfBlended(ratios=(0.5,)).bare(), face, 3)
    rng = np.random.default_rng(3)
    rng.integers(4)  # the kind of region
    changed = draw_source_change(rng)(face.image).astype(float)
    target, image = face.image.astype(float), made.image.astype(float)
    middle = np.rint(face.landmarks[30]).astype(int)
    near = np.s_[middle[1] - 4 : middle[1] + 5, middle[0] - 4 : middle[0] + 5]
    np.testing.assert_allclose(image[near], (0.5 * target + 0.5 * changed)[near], atol=0.51)
    between = (image >= np.minimum(target, changed) - 0.5) & (
        image <= np.maximum(target, changed) + 0.5
    )
    assert between.all()


@pytest.mark.parametrize(("chance", "real_changes"), [(1.0, False), (0.0, True)])
def test_the_real_image_changes_only_with_the_target(chance, real_changes):
    face = astronaut()
    generator = SelfBlended(transform_source=chance, crop_margin=(4.0, 4.0), **PLAIN)
    seen = []
    for seed in range(12):
        made = forge(generator, face, seed)
        outside = ~made.mask
        np.testing.assert_array_equal(made.image[outside], made.real[outside])
        seen.append((made.real != face.image).mean())
    # What happens to both images afterwards changes about half of the real ones, too.
    assert (min(seen) > 0.2) == real_changes
    assert (min(seen) == 0) == (not real_changes)


def test_compression_and_flip_happen_as_often_as_asked(monkeypatch):
    qualities, mirrors = [], []

    def note(image, quality):
        qualities.append(quality)
        return image

    def flip(face):
        mirrors.append(face.person)
        return mirrored(face)

    monkeypatch.setattr("clad.synthesis.self_blended.compress", note)
    monkeypatch.setattr("clad.synthesis.self_blended.mirrored", flip)
    face, generator = drawn_face(1, (48, 48)), SelfBlended(jpeg_quality=(60, 62))
    for seed in range(60):
        forge(generator, face, seed)
    assert set(qualities) == {60, 61, 62}
    # Real and forged image get the same quality, one after the other.
    assert qualities[::2] == qualities[1::2]
    assert 18 <= len(qualities) / 2 <= 42
    assert 18 <= len(mirrors) <= 42


def test_source_changes_are_always_coarser_or_sharper():
    rng = np.random.default_rng(0)
    face, sharper = astronaut().image, 0
    for _ in range(30):
        made = draw_source_change(rng)(face).astype(float)
        detail = (
            np.abs(np.diff(made, axis=1)).mean()
            / np.abs(np.diff(face.astype(float), axis=1)).mean()
        )
        assert not 0.98 < detail < 1.02
        sharper += detail > 1
    assert 7 <= sharper <= 23


def test_crop_leaves_margins_in_quarters_of_the_face():
    face = drawn_face(1, (200, 200), share=0.2)
    points, rng = face.landmarks.copy(), np.random.default_rng(0)
    left, top, right, bottom = face_box(points)
    width, height = right - left, bottom - top
    low, high = [], []
    for _ in range(300):
        window = crop_window(points, (200, 200), (0.2, 0.8), rng)
        low.append(((top - window[0]) / height, (left - window[1]) / width))
        high.append(((window[2] - bottom) / height, (window[3] - right) / width))
    for margins in (np.array(low), np.array(high)):
        np.testing.assert_allclose(margins.min(0), 0.05, atol=0.025)
        np.testing.assert_allclose(margins.max(0), 0.2, atol=0.025)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.9, 0.0), (5.0, -5.0)])
def test_crop_stays_inside_the_image_and_is_never_a_sliver(shift):
    points = drawn_face(0, (60, 90), shift=shift).landmarks
    for seed in range(20):
        window = crop_window(points, (60, 90), (0.2, 0.8), np.random.default_rng(seed))
        top, left, bottom, right = window
        assert 0 <= top < bottom <= 60
        assert 0 <= left < right <= 90
        assert min(bottom - top, right - left) >= 32


def test_crop_moves_the_mask_with_the_image():
    # With colours as they are, all that changes is what is cut; the mask marks the same pixels.
    face = FacePhoto(astronaut(256).image, astronaut(256).landmarks, "a")
    for seed in range(6):
        made = forge(SelfBlended(transform_source=1.0, **PLAIN), face, seed)
        changed = (made.image != made.real).any(axis=2)
        assert (changed & made.mask).sum() > 0.9 * made.mask.sum()
        assert (changed & ~made.mask).sum() < 0.03 * changed.size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regions": ("hull", "head")}, "regions to be one of components, extended, forehead"),
        ({"regions": ()}, "at least one of hull, forehead, .* in regions, got none"),
        ({"ratios": ()}, "at least one blending ratio in ratios, got none"),
        ({"ratios": (0.01,)}, r"ratios in \[0.05, 1\], got 0.01"),
        ({"transform_source": 2.0}, r"transform_source in \[0, 1\], got 2.0"),
        ({"jpeg_quality": (90, 40)}, r"jpeg_quality to be \(smallest, largest\)"),
        ({"crop_margin": (0.5, 9.0)}, r"crop_margin to be \(smallest, largest\) within \[0, 4\]"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SelfBlended(**settings)


def test_parts_are_small_inside_the_face_and_of_the_photo_itself():
    face = drawn_face(2, (128, 128))
    generator = SelfBlended(regions=("parts",)).bare()
    shares = []
    for seed in range(40):
        made = generator.forge(face, People(), np.random.default_rng(seed))
        np.testing.assert_array_equal(made.image[~made.mask], face.image[~made.mask])
        hull = face_region(face.landmarks, "hull", made.mask.shape)
        shares.append(made.mask.sum() / hull.sum())
        assert made.mask.mean() < 0.5
    assert 0.02 < np.median(shares) < 0.5


def test_a_part_is_turned_and_moved_about_its_own_middle():
    face = drawn_face(2, (128, 128))
    region = part_region(face.landmarks, "mouth", (128, 128), 0.1)
    rows, columns = np.nonzero(region)
    middle = np.array([columns.mean(), rows.mean(), 1])
    width = np.ptp(face.landmarks[:, 0])
    for seed in range(30):
        matrix = part_matrix(region, face.landmarks, np.random.default_rng(seed))
        assert np.abs(matrix @ middle - middle[:2]).max() <= SHIFT * width + 1e-6
        factor = np.sqrt(np.linalg.det(matrix[:, :2]))
        assert ZOOM - 1e-6 <= factor <= 1 / ZOOM + 1e-6
        assert abs(np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))) <= TURN_DEGREES + 1e-6


def test_parts_outside_of_the_image_cannot_be_blended():
    face = drawn_face(2, (128, 128))
    away = face.landmarks + 1000
    rng = np.random.default_rng(0)
    assert blend_parts(face.image, face.image, away, rng) is None
