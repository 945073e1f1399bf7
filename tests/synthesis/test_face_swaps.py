"""Swaps of faces and parts, and Face X-ray's pairs: whose pixels, where, in which colours."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_faces import People, drawn_face

from clad.synthesis.base import Donors, FacePhoto
from clad.synthesis.face_masks import feathered
from clad.synthesis.face_regions import face_region, part_region, shrunk
from clad.synthesis.face_xray import FaceXray, eroded_or_dilated
from clad.synthesis.forgery_mixture import ForgeryMixture
from clad.synthesis.landmark_swap import LandmarkSwap, warped_face
from clad.synthesis.part_swap import PartSwap

SIZE = (96, 96)


class Only(Donors):
    """Always the same donor; remembers how many were asked for."""

    def __init__(self, donor):
        self.donor = donor
        self.among = []

    def draw(self, face, rng):
        return self.donor

    def nearest(self, face, rng, among):
        self.among.append(among)
        return self.donor


def at(image, points):
    columns, rows = np.rint(points).astype(int).T
    return image[rows, columns].astype(int)


@pytest.mark.parametrize("warp", ["triangles", "similarity"])
def test_a_warped_face_lies_on_the_landmarks(warp):
    face, donor = drawn_face(1, SIZE), drawn_face(2, SIZE, turn=0.2, share=0.33)
    smooth = np.indices(SIZE).transpose(1, 2, 0).astype(np.uint8)
    coordinates = np.concatenate([smooth, smooth[..., :1]], axis=2)
    donor = FacePhoto(coordinates, donor.landmarks, "donor")
    warped, known = warped_face(donor, face, warp)
    inner = face.landmarks[30:68]
    assert at(known, inner).all()
    # Each pixel tells (row, column) where it was read: those of the donor's landmarks.
    np.testing.assert_allclose(at(warped, inner)[:, 1::-1], donor.landmarks[30:68], atol=1.5)


def test_a_swap_without_colour_transfer_shows_the_donor_inside_the_hull():
    face, donor = drawn_face(1, SIZE), drawn_face(2, SIZE)
    generator = LandmarkSwap(
        warps=("similarity",), regions=("hull",), blends=("feather",), colours="none", feather=0.0
    )
    made = generator.forge(face, Only(donor), np.random.default_rng(0))
    region = face_region(face.landmarks, "hull", SIZE)
    # Landmarks are the same, so the similarity is the identity.
    np.testing.assert_array_equal(made.image[~region], face.image[~region])
    assert np.abs(made.image.astype(int) - donor.image)[region].max() <= 1
    assert (made.mask != region).mean() < 0.005
    np.testing.assert_array_equal(made.real, face.image)


def test_a_swap_has_the_colours_of_the_target():
    face, donor = drawn_face(1, SIZE), drawn_face(3, SIZE)
    generator = LandmarkSwap(warps=("triangles",), regions=("hull",), blends=("feather",))
    made = generator.forge(face, Only(donor), np.random.default_rng(0))
    inner = shrunk(face_region(face.landmarks, "hull", SIZE), 8)
    before, after = face.image[inner].mean(0), made.image[inner].mean(0)
    own = donor.image[inner].mean(0)
    assert np.abs(after - before).max() < 0.5 * np.abs(own - before).max()


def test_a_swap_uses_only_pixels_that_the_donor_has():
    face, donor = drawn_face(1, SIZE), drawn_face(2, SIZE, shift=(-0.3, 0.0))
    generator = LandmarkSwap(regions=("hull",), blends=("feather",), feather=0.0)
    for seed in range(4):
        made = generator.forge(face, Only(donor), np.random.default_rng(seed))
        # The donor's left half lies outside of its photo; so the target's left half stays.
        left = face.landmarks[:, 0].min()
        assert np.nonzero(made.mask.any(axis=0))[0][0] > left + 8


def test_parts_stay_in_their_regions_and_counts_are_kept():
    face = drawn_face(1, SIZE)
    regions = {
        part: part_region(face.landmarks, part, SIZE, 0.08) for part in ("eyes", "mouth", "nose")
    }
    counts = set()
    for seed in range(24):
        made = PartSwap(count=(1, 3)).forge(face, People(), np.random.default_rng(seed))
        touched = {
            part for part, region in regions.items() if made.mask[shrunk(region, 3)].mean() > 0.8
        }
        allowed = np.any([regions[part] for part in touched], axis=0)
        assert not (made.mask & ~allowed).any()
        np.testing.assert_array_equal(made.image[~made.mask], face.image[~made.mask])
        counts.add(len(touched))
    assert counts == {1, 2, 3}


def test_one_part_alone():
    face = drawn_face(1, SIZE)
    generator = PartSwap(parts=("mouth",), count=(1, 1), margin=0.0)
    made = generator.forge(face, People(), np.random.default_rng(0))
    mouth = part_region(face.landmarks, "mouth", SIZE, 0.0)
    assert made.mask.any()
    assert not (made.mask & ~mouth).any()


def test_xray_pair_has_the_mean_colour_of_the_target_and_weights_that_rise():
    face, donor = drawn_face(1, SIZE), drawn_face(2, SIZE)
    generator = FaceXray(regions=("hull",)).bare()
    for seed in range(6):
        proposal = generator.propose(face, Only(donor), np.random.default_rng(seed))
        inside = proposal.weights > 0
        np.testing.assert_allclose(
            proposal.source[inside].mean(0), face.image[inside].mean(0), atol=1.5
        )
        np.testing.assert_array_equal(proposal.weights, feathered(inside, 0.2))


@pytest.mark.parametrize("generator", [FaceXray(among=7), LandmarkSwap(among=7), PartSwap(among=7)])
def test_donors_are_the_most_alike_of_so_many(generator):
    donors = Only(drawn_face(2, SIZE))
    generator.forge(drawn_face(1, SIZE), donors, np.random.default_rng(0))
    assert set(donors.among) == {7}


def test_aligned_xray_donors_fit_the_landmarks():
    face, donor = drawn_face(1, SIZE), drawn_face(2, SIZE, turn=0.3, shift=(0.1, 0.05))
    as_is, known = FaceXray()._fitted(donor, face)
    assert as_is is donor.image
    assert known.all()
    fitted, known = FaceXray(align=True)._fitted(donor, face)
    straight = drawn_face(2, SIZE).image.astype(int)
    inner = shrunk(face_region(face.landmarks, "hull", SIZE), 4) & known
    turned = np.abs(donor.image.astype(int) - straight)[inner].mean()
    assert np.abs(fitted.astype(int) - straight)[inner].mean() < turned


def test_xray_resolution_is_lost_by_both_images():
    face = drawn_face(1, SIZE)
    for seed in range(6):
        made = FaceXray(flip_probability=0.0, jpeg_probability=0.0).forge(
            face, People(), np.random.default_rng(seed)
        )
        detail = [
            np.abs(np.diff(image.astype(int), axis=1)).mean() for image in (face.image, made.real)
        ]
        assert detail[1] < detail[0]


def test_erosion_and_dilation_stay_within_their_kernels():
    region = np.zeros((256, 256), bool)
    region[60:200, 60:200] = True
    sides = {
        int(np.sqrt(eroded_or_dilated(region, np.random.default_rng(seed)).sum()))
        for seed in range(80)
    }
    assert min(sides) == 140 - 20
    assert max(sides) == 140 + 4
    assert 140 in sides


def test_mixture_draws_by_weight_and_makes_its_generators_bare():
    calls = []

    class Noted(PartSwap):
        def forge(self, face, donors, rng):
            calls.append(self.is_bare)
            return super().forge(face, donors, rng)

    face = drawn_face(1, (48, 48))
    mixture = ForgeryMixture([Noted(), LandmarkSwap()], (0.25, 0.75))
    for seed in range(80):
        mixture.forge(face, People(), np.random.default_rng(seed))
    assert 10 <= len(calls) <= 30
    assert not any(calls)
    calls.clear()
    bare = mixture.bare()
    np.testing.assert_allclose(bare.probabilities, mixture.probabilities)
    for seed in range(20):
        bare.forge(face, People(), np.random.default_rng(seed))
    assert calls
    assert all(calls)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LandmarkSwap(warps=("bend",)), "warps to be one of similarity, triangles"),
        (lambda: LandmarkSwap(colours="rgb"), "colours to be one of lab, mean, none"),
        (lambda: LandmarkSwap(among=0), "among in"),
        (lambda: PartSwap(parts=("eyes", "eyes")), "each part once, got eyes, eyes"),
        (lambda: PartSwap(parts=("ear",)), "parts to be one of eyes, mouth, nose"),
        (lambda: PartSwap(count=(2, 4)), r"\(fewest, most\) within \[1, 3\], got \(2, 4\)"),
        (lambda: PartSwap(blends=()), "at least one of poisson, feather in blends"),
        (lambda: FaceXray(feather=-1), r"feather in \[0, 1\], got -1"),
        (lambda: ForgeryMixture([]), "at least one generator, got none"),
        (lambda: ForgeryMixture([PartSwap()], (1.0, 2.0)), "1 weights, one per generator, got 2"),
        (lambda: ForgeryMixture([PartSwap()], (0.0,)), "weights >= 0 with a positive sum"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
