"""The synthesis contract: a normal image in, an anomalous image and its exact mask out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ImageArray = NDArray[np.uint8]
MaskArray = NDArray[np.bool_]
Points = NDArray[np.float32]


class Synthesizer(ABC):
    """Makes an anomalous image from a normal one. One file and one YAML per generator.

    A generator holds settings only: everything random comes from ``rng``, so the same seed gives
    the same bytes in any loader worker.
    """

    @abstractmethod
    def __call__(self, image: ImageArray, rng: np.random.Generator) -> tuple[ImageArray, MaskArray]:
        """Anomalous copy of ``image`` and the mask of what changed.

        Args:
            image: (H, W, 3) uint8 RGB, never written to.
            rng: Source of all randomness.

        Returns:
            (H, W, 3) uint8 image and (H, W) bool mask; the mask is not empty, and pixels outside
            it are unchanged unless the generator's docstring says otherwise.
        """


@dataclass(frozen=True)
class FacePhoto:
    """A real face with its landmarks.

    Args:
        image: (H, W, 3) uint8 RGB, never written to.
        landmarks: (68, 2) float32 x, y in pixels of ``image``; some may lie outside.
        person: Who it is, or at least which video or file; a swap takes another one.
    """

    image: ImageArray
    landmarks: Points
    person: str


@dataclass(frozen=True)
class Forgery:
    """A forged face beside the real one that it is to be told from.

    Args:
        image: (H, W, 3) uint8 RGB, forged.
        mask: (H, W) bool, True where pixels come from elsewhere; not empty.
        real: (H, W, 3) uint8 RGB: the real face with every change that must not give the forgery
            away (colour, compression, crop); the photo itself where there is none.
    """

    image: ImageArray
    mask: MaskArray
    real: ImageArray


class Donors(ABC):
    """Other people's faces, for generators that swap. All have the size of the images at hand."""

    @abstractmethod
    def draw(self, face: FacePhoto, rng: np.random.Generator) -> FacePhoto:
        """A random face of another person.

        Raises:
            ValueError: If there is no other person.
        """

    @abstractmethod
    def nearest(self, face: FacePhoto, rng: np.random.Generator, among: int) -> FacePhoto:
        """Of ``among`` random faces of other people the one whose landmarks are most alike.

        Alike is measured in shares of width and height, without any alignment (Face X-ray,
        arXiv:1912.13458, section 4.1).

        Raises:
            ValueError: If there is no other person.
        """


class FaceSynthesizer(Synthesizer):
    """Forges faces: needs landmarks, perhaps other people, and says what the real one looks like.

    The data set calls ``forge`` in place of ``__call__``, for real images, too: they become
    ``Forgery.real``.
    """

    @abstractmethod
    def forge(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Forgery:
        """A forged face; deterministic in ``rng``.

        Args:
            face: The face that is forged.
            donors: Other people at the same image size.
            rng: Source of all randomness.
        """

    def bare(self) -> FaceSynthesizer:
        """This generator without what it does to real and forged image alike.

        ``Forgery.real`` is then the photo itself, and the forged image differs from it inside the
        mask only. That is what may be stored beside real photos that nothing was done to;
        otherwise a mirror, a crop or a compression would tell the files apart.
        """
        return self

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> tuple[ImageArray, MaskArray]:
        """Refuses: without landmarks there is nothing to forge.

        Raises:
            ValueError: Always.
        """
        del rng
        raise ValueError(
            f"expected a face with landmarks for {type(self).__name__}, got an image "
            f"{image.shape} alone; use a source that knows landmarks, or a generator that needs "
            "none (configs/synthesis/)"
        )
