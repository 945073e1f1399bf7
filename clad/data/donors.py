"""Faces of a data set as donors for swaps, at the size of its items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from clad.data.images import ImageArray, Size, stored_size
from clad.samples import Sample
from clad.synthesis.base import Donors, FacePhoto, Points


def person_of(sample: Sample) -> str:
    """Who is in the image: its group (person or video), else the file."""
    return sample.group or str(sample.image_path)


def expect_landmarks(samples: Sequence[Sample], generator: str) -> None:
    """Refuse real faces without landmarks.

    Raises:
        ValueError: With how many there are, and the first of them.
    """
    without = [sample for sample in samples if sample.label == 0 and sample.landmarks is None]
    if without:
        raise ValueError(
            f"expected landmarks of every real face for {generator}, got none of {len(without)} "
            f"of {len(samples)} images, e.g. {without[0].image_path}; put landmarks.csv into the "
            "data folder (docs/faces.md), or leave these images out"
        )


def as_photo(sample: Sample, image: ImageArray) -> FacePhoto:
    """A sample whose image was resized to ``image``, landmarks moved along."""
    assert sample.landmarks is not None
    height, width = stored_size(sample.image_path)
    return FacePhoto(image, scaled(sample.landmarks, (height, width), image), person_of(sample))


def scaled(landmarks: Points, stored: Size, image: ImageArray) -> Points:
    """(68, 2) float32 x, y in pixels of ``image``, which was resized from ``stored``.

    Pixel centres lie at whole numbers, as in every resize of this package.
    """
    height, width = image.shape[:2]
    factor = np.array([width / stored[1], height / stored[0]])
    return np.asarray((landmarks + 0.5) * factor - 0.5, dtype=np.float32)


class DonorPool(Donors):
    """The real faces of a list of samples.

    Args:
        samples: Those without landmarks or with label 1 are left out.
        load: Sample -> (H, W, 3) uint8 RGB at the size of the items.
    """

    def __init__(self, samples: Sequence[Sample], load: Callable[[Sample], ImageArray]) -> None:
        self.samples = tuple(s for s in samples if s.label == 0 and s.landmarks is not None)
        self.load = load
        self._people = np.array([person_of(sample) for sample in self.samples])
        self._shapes: dict[int, NDArray[np.float64]] = {}

    def draw(self, face: FacePhoto, rng: np.random.Generator) -> FacePhoto:
        """A random face of another person; see ``Donors``."""
        return self._photo(int(rng.choice(self._others(face))))

    def nearest(self, face: FacePhoto, rng: np.random.Generator, among: int) -> FacePhoto:
        """The most alike of ``among`` random faces of other people; see ``Donors``."""
        others = self._others(face)
        drawn = rng.choice(others, size=min(among, len(others)), replace=False)
        height, width = face.image.shape[:2]
        shape = (face.landmarks + 0.5) / (width, height)
        distances = [np.square(self._shape(int(index)) - shape).sum() for index in drawn]
        return self._photo(int(drawn[int(np.argmin(distances))]))

    def _others(self, face: FacePhoto) -> NDArray[np.int64]:
        others = np.flatnonzero(self._people != face.person)
        if not len(others):
            raise ValueError(
                f"expected faces of more than one person to swap, got only {face.person}; add "
                "people, or use a generator that needs one (configs/forgery/self_blended.yaml)"
            )
        return others

    def _photo(self, index: int) -> FacePhoto:
        sample = self.samples[index]
        return as_photo(sample, self.load(sample))

    def _shape(self, index: int) -> NDArray[np.float64]:
        """(68, 2) landmarks in shares of width and height."""
        if index not in self._shapes:
            sample = self.samples[index]
            assert sample.landmarks is not None
            height, width = stored_size(sample.image_path)
            self._shapes[index] = (sample.landmarks + 0.5) / (width, height)
        return self._shapes[index]
