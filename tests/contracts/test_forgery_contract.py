"""What every face generator in configs/forgery/ must keep; a new YAML is covered at once."""

from __future__ import annotations

import pickle
from functools import lru_cache
from pathlib import Path

import cv2
import jsonargparse
import numpy as np
import pytest
import yaml
from drawn_faces import People, astronaut, drawn_face

from clad.synthesis.base import Donors, FacePhoto, FaceSynthesizer

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "forgery").glob("*.yaml"))
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@lru_cache
def load(path):
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--synthesis", type=FaceSynthesizer)
    settings = yaml.safe_load(path.read_text())["data"]["synthesis"]
    return parser.instantiate_classes(parser.parse_object({"synthesis": settings})).synthesis


FACES = {
    "astronaut": astronaut,
    "drawn": lambda: drawn_face(1),
    "tiny": lambda: drawn_face(0, (32, 32)),
    "wide": lambda: drawn_face(2, (48, 120)),
    "tall": lambda: drawn_face(3, (131, 40), turn=0.2),
    "partly outside": lambda: drawn_face(1, shift=(0.35, -0.3)),
    "larger than the image": lambda: drawn_face(2, share=0.8),
}
LARGE = "large", lambda: drawn_face(1, (256, 256), share=0.3)


@lru_cache
def face_named(name):
    face = {**FACES, LARGE[0]: LARGE[1]}[name]()
    face.image.flags.writeable = False
    face.landmarks.flags.writeable = False
    return face


def seeded(generator, face, seed, donors=None):
    return generator.forge(face, donors or People(), np.random.default_rng(seed))


def bytes_of(made):
    return made.image.tobytes(), made.mask.tobytes(), made.real.tobytes()


def test_configs_are_found():
    assert len(CONFIGS) >= 5


@each_config
@pytest.mark.parametrize("name", FACES)
def test_a_forgery_has_shape_type_and_a_mask(path, name):
    face = face_named(name)
    before = face.image.copy(), face.landmarks.copy()
    for seed in range(5):
        made = seeded(load(path), face, seed)
        for image in (made.image, made.real):
            assert (image.dtype, image.shape) == (np.uint8, face.image.shape)
        assert (made.mask.dtype, made.mask.shape) == (bool, face.image.shape[:2])
        assert made.mask.any()
        assert (made.image != made.real)[made.mask].any()
    np.testing.assert_array_equal(face.image, before[0])
    np.testing.assert_array_equal(face.landmarks, before[1])


@each_config
@pytest.mark.parametrize("name", FACES)
def test_a_bare_forgery_differs_from_its_photo_exactly_in_the_mask(path, name):
    face = face_named(name)
    for seed in range(5):
        made = seeded(load(path).bare(), face, seed)
        np.testing.assert_array_equal(made.real, face.image)
        changed = (made.image != face.image).any(axis=2)
        assert not (changed & ~made.mask).any()
        # Pixels inside that happen to be equal are holes of at most four pixels.
        holes = (made.mask & ~changed).astype(np.uint8)
        assert not cv2.erode(holes, np.ones((5, 5))).any()
        assert made.mask[changed].all()


@each_config
def test_far_from_the_mask_real_and_forged_images_are_equal(path):
    # What both images get spreads pixels over a block of JPEG (16 px, enlarged by the crop).
    face, reach = face_named("large"), 32
    for seed in range(6):
        made = seeded(load(path), face, seed)
        kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        near = cv2.dilate(made.mask.astype(np.uint8), kernel).astype(bool)
        assert not near.all()
        np.testing.assert_array_equal(made.image[~near], made.real[~near])


@each_config
def test_same_seed_gives_same_bytes_and_other_seeds_differ(path):
    face = face_named("drawn")
    first = [bytes_of(seeded(load(path), face, seed)) for seed in range(6)]
    assert first == [bytes_of(seeded(load(path), face, seed)) for seed in range(6)]
    assert len({image for image, _, _ in first}) >= 5


@each_config
def test_state_is_in_rng_only(path):
    generator, face = load(path), face_named("drawn")
    copy = pickle.loads(pickle.dumps(generator))
    seeded(generator, face, 1)
    generator.bare()
    legacy = np.random.get_state()[1].copy()
    assert bytes_of(seeded(generator, face, 2)) == bytes_of(seeded(copy, face, 2))
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)


@each_config
def test_donors_are_asked_for_the_person_at_hand_and_never_give_it(path):
    people, generator = People(), load(path)
    for seed in range(12):
        seeded(generator, drawn_face(seed % 4), seed, people)
    for seed, (asked, came) in enumerate(people.calls):
        assert asked.startswith("person "), seed
        assert asked != came


@each_config
def test_donors_that_lie_partly_outside_their_image_are_used_where_they_have_pixels(path):
    people = People(shift=(-0.3, 0.2))
    for seed in range(4):
        made = seeded(load(path), face_named("drawn"), seed, people)
        assert made.mask.any()


@each_config
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((64, 64, 3), np.float32)}, "expected a uint8 image.*got float32"),
        ({"image": np.zeros((31, 64, 3), np.uint8)}, r"expected sides >= 32 px, got \(31, 64\)"),
        ({"landmarks": np.zeros((5, 2), np.float32)}, r"shape \(68, 2\), got \(5, 2\)"),
        ({"landmarks": np.full((68, 2), np.nan, np.float32)}, "finite landmarks, got 68 of 68"),
        (
            {"landmarks": np.full((68, 2), -900, np.float32)},
            r"to forge a face of somebody, got none in 8 tries: landmarks span x -900 to -900",
        ),
    ],
)
def test_wrong_faces_are_refused(path, change, message):
    fields = {"image": astronaut().image, "landmarks": astronaut().landmarks, **change}
    with pytest.raises(ValueError, match=message):
        seeded(load(path), FacePhoto(person="somebody", **fields), 0)


class Nobody(Donors):
    def draw(self, face, rng):
        raise ValueError("expected faces of more than one person")

    nearest = draw


def test_self_blended_images_need_no_other_people():
    (path,) = [path for path in CONFIGS if path.stem == "self_blended"]
    assert seeded(load(path), astronaut(), 0, Nobody()).mask.any()
