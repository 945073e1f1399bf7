"""Face generators inside the data set: landmarks, donors, pairs."""

from __future__ import annotations

import numpy as np
import pytest

from clad.data.base import DataSource
from clad.data.datamodule import AnomalyDataModule
from clad.data.dataset import PARTNER, SampleDataset
from clad.data.donors import DonorPool, as_photo, scaled
from clad.data.images import decode_image
from clad.data.tiny import save
from clad.samples import Sample, Splits
from clad.synthesis.base import FacePhoto, FaceSynthesizer, Forgery

SIDE = 40


def landmarks(shift: float = 0.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    return (SIDE / 2 + shift + 10 * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(np.float32)


class Paste(FaceSynthesizer):
    """The right half of the other person; the real one gets a random brightness, as both do."""

    def forge(self, face, donors, rng):
        shift = np.uint8(rng.integers(1, 20))
        donor = donors.draw(face, rng)
        mask = np.zeros(face.image.shape[:2], dtype=bool)
        mask[:, mask.shape[1] // 2 :] = True
        pasted = np.where(mask[..., None], donor.image, face.image)
        return Forgery(pasted + shift, mask, face.image + shift)


@pytest.fixture
def samples(tmp_path):
    found = []
    for person in range(3):
        for frame in range(2):
            path = tmp_path / f"{person}_{frame}.png"
            save(np.full((SIDE, SIDE, 3), 60 * person + 10 * frame, np.uint8), path)
            found.append(
                Sample(path, 0, "face", group=f"p{person}", landmarks=landmarks(3.0 * person))
            )
    return found


def test_landmarks_follow_a_resize():
    image = np.zeros((80, 20, 3), np.uint8)
    moved = scaled(np.array([[0, 0], [39, 39], [19.5, 19.5]], np.float32), (40, 40), image)
    np.testing.assert_allclose(moved, [[-0.25, 0.5], [19.25, 78.5], [9.5, 39.5]])


def test_donors_are_other_people_and_the_nearest_has_the_most_similar_shape(samples):
    pool = DonorPool(samples, lambda sample: decode_image(sample.image_path))
    face = as_photo(samples[2], decode_image(samples[2].image_path))
    rng = np.random.default_rng(0)
    drawn = [pool.draw(face, rng) for _ in range(40)]
    assert {photo.person for photo in drawn} == {"p0", "p2"}
    moved = FacePhoto(face.image, landmarks(2.0), "p1")
    assert pool.nearest(moved, rng, among=10).person == "p0"
    moved = FacePhoto(face.image, landmarks(5.0), "p1")
    assert pool.nearest(moved, rng, among=10).person == "p2"


def test_one_person_alone_cannot_be_swapped(samples):
    pool = DonorPool(samples[:2], lambda sample: decode_image(sample.image_path))
    face = as_photo(samples[0], decode_image(samples[0].image_path))
    with pytest.raises(ValueError, match="faces of more than one person to swap, got only p0"):
        pool.draw(face, np.random.default_rng(0))


def test_a_pair_shares_its_random_numbers(samples):
    made = SampleDataset(samples, (SIDE, SIDE), synthesis=Paste(), paired=True)
    for epoch in (0, 3):
        real, fake = made[(epoch, 2)], made[(epoch + PARTNER, 2)]
        assert (real.label, fake.label) == (0, 1)
        assert not real.mask.any()
        assert fake.mask.mean() == 0.5
        np.testing.assert_array_equal(real.image[:, :20], fake.image[:, :20])
        assert (real.image[:, 20:] != fake.image[:, 20:]).all()
        assert (real.image != decode_image(samples[2].image_path)).all()
    assert (made[(0, 2)].image != made[(1, 2)].image).any()


def test_without_pairs_chance_decides_and_real_faces_get_the_same_treatment(samples):
    made = SampleDataset(samples, (SIDE, SIDE), synthesis=Paste(), synthesis_probability=0.5)
    items = [made[(epoch, 0)] for epoch in range(200)]
    assert 70 < sum(item.label for item in items) < 130
    assert all((item.image[0, 0] > 0).all() for item in items if item.label == 0)


def test_a_real_face_without_landmarks_is_refused(samples, tmp_path):
    samples.append(Sample(tmp_path / "0_0.png", 0, "face"))
    with pytest.raises(ValueError, match=r"landmarks of every real face for Paste, got none of 1"):
        SampleDataset(samples, (SIDE, SIDE), synthesis=Paste(), synthesis_probability=0.5)


class People(DataSource):
    name = "people"

    def __init__(self, samples):
        self.samples = samples

    def list_samples(self, root, categories, seed):
        fake = Sample(self.samples[-1].image_path, 1, "face", "swap", group="p2")
        return Splits(train=(*self.samples[:5], fake))

    def write_tiny(self, root, seed=0):
        raise NotImplementedError


def test_loader_puts_each_real_face_beside_its_partner(samples, tmp_path):
    module = AnomalyDataModule(
        People(samples),
        tmp_path,
        image_size=SIDE,
        train_batch_size=4,
        num_workers=0,
        synthesis=Paste(),
        paired_synthesis=True,
    )
    batches = list(module.train_dataloader())
    labels = [label for batch in batches for label in batch.labels.tolist()]
    paths = [path for batch in batches for path in batch.paths]
    assert len(labels) == 2 * 5 + 1
    assert sum(labels) == 6
    where = [n for n, label in enumerate(labels) if label == 0]
    assert all(labels[n + 1] == 1 and paths[n] == paths[n + 1] for n in where)


def test_pairs_need_a_generator(samples, tmp_path):
    with pytest.raises(ValueError, match=r"expected data\.synthesis for data\.paired_synthesis"):
        AnomalyDataModule(People(samples), tmp_path, paired_synthesis=True)


def test_a_face_generator_refuses_an_image_without_landmarks():
    with pytest.raises(ValueError, match="expected a face with landmarks for Paste"):
        Paste()(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))
