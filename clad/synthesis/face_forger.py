"""What all face generators share: checks, retries, and the exact mask."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import numpy as np

from clad.synthesis.base import Donors, FacePhoto, FaceSynthesizer, Forgery
from clad.synthesis.face_blend import Blend, compose
from clad.synthesis.face_regions import expect_landmarks
from clad.synthesis.local import expect_image

MAX_TRIES = 8
MIN_AREA_PX = 8


class FaceForger(FaceSynthesizer, ABC):
    """A generator that blends a source into a region of the face.

    A variant proposes source, target and weights. This class checks the face, blends, takes the
    mask (weight above 1/32 and pixels changed) and draws again, at most eight times, if fewer
    than eight pixels were forged.
    """

    is_bare = False

    @abstractmethod
    def propose(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Blend | None:
        """What to blend, or None if these random numbers or this donor give nothing.

        Args:
            face: Checked, never written to.
            donors: Other people.
            rng: Source of all randomness.
        """

    def prepare(self, face: FacePhoto, rng: np.random.Generator) -> FacePhoto:
        """What happens to the photo before; not done by a bare generator. Default: nothing."""
        del rng
        return face

    def finish(self, made: Forgery, face: FacePhoto, rng: np.random.Generator) -> Forgery:
        """What happens to both images after; not done by a bare generator. Default: nothing.

        Args:
            made: Forged and real image with their mask.
            face: As prepared.
            rng: Source of all randomness.
        """
        del face, rng
        return made

    def bare(self) -> FaceSynthesizer:
        """This generator without ``prepare`` and ``finish``; see ``FaceSynthesizer``."""
        generator = copy.copy(self)
        generator.is_bare = True
        return generator

    def forge(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Forgery:
        """A forged face; see ``FaceSynthesizer``.

        Raises:
            ValueError: If image or landmarks are of a wrong shape, or nothing could be forged.
        """
        expect_image(face.image)
        expect_landmarks(face.landmarks)
        for _ in range(MAX_TRIES):
            photo = face if self.is_bare else self.prepare(face, rng)
            proposal = self.propose(photo, donors, rng)
            if proposal is None:
                continue
            image, mask = compose(proposal)
            made = Forgery(image, mask, proposal.target)
            if mask.any() and not self.is_bare:
                made = self.finish(made, photo, rng)
            if made.mask.sum() >= MIN_AREA_PX:
                return made
        left, top = face.landmarks.min(axis=0)
        right, bottom = face.landmarks.max(axis=0)
        raise ValueError(
            f"expected {type(self).__name__} to forge a face of {face.person}, got none in "
            f"{MAX_TRIES} tries: landmarks span x {left:.0f} to {right:.0f} and y {top:.0f} to "
            f"{bottom:.0f} in an image of {face.image.shape[:2]}; check that they lie on the face"
        )
