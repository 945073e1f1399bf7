"""Faces for tests: 68 landmarks by formula, drawn people, and a photograph that skimage brings."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from skimage import data

from clad.synthesis.base import Donors, FacePhoto


def _arc(centre, radii, start, stop, number):
    angle = np.radians(np.linspace(start, stop, number))
    return np.stack(
        [centre[0] + radii[0] * np.cos(angle), centre[1] - radii[1] * np.sin(angle)], axis=1
    )


def _ring(centre, radii, number):
    """Clockwise as seen, from the left corner."""
    angles = 180 - np.arange(number) * 360 / number
    angle = np.radians(angles)
    return np.stack(
        [centre[0] + radii[0] * np.cos(angle), centre[1] - radii[1] * np.sin(angle)], axis=1
    )


@lru_cache
def template():
    """(68, 2) landmarks of a symmetric face in the square [-1, 1] x [-1, 1]."""
    points = np.concatenate(
        [
            _arc((0, -0.2), (0.9, 1.1), 180, 360, 17),  # jaw
            _arc((-0.42, -0.5), (0.26, 0.14), 180, 0, 5),  # left brow
            _arc((0.42, -0.5), (0.26, 0.14), 180, 0, 5),  # right brow
            np.stack([np.zeros(4), np.linspace(-0.35, 0.05, 4)], axis=1),  # bridge of the nose
            _arc((0, 0.1), (0.18, 0.08), 180, 360, 5),  # base of the nose
            _ring((-0.4, -0.3), (0.16, 0.07), 6),
            _ring((0.4, -0.3), (0.16, 0.07), 6),
            _ring((0, 0.45), (0.34, 0.16), 12),
            _ring((0, 0.45), (0.24, 0.06), 8),
        ]
    )
    points.setflags(write=False)
    return points


def landmarks(size, share=0.38, turn=0.0, shift=(0.0, 0.0)):
    """(68, 2) float32 of a face in an image of (height, width)."""
    height, width = size
    cosine, sine = np.cos(turn), np.sin(turn)
    turned = template() @ np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([width / 2 + shift[0] * width, (0.54 + shift[1]) * height])
    return (centre + turned * share * np.array([width, height])).astype(np.float32)


@lru_cache
def drawn_face(person, size=(96, 96), **placing):
    """A drawn person: skin, eyes, mouth and grain depend on the number."""
    rng = np.random.default_rng(person)
    points = landmarks(size, **placing)
    image = np.full((*size, 3), rng.integers(30, 120, 3), np.uint8)
    skin = rng.integers(120, 210, 3)

    def fill(which, colour):
        hull = cv2.convexHull(np.rint(points[which]).astype(np.int32))
        cv2.fillConvexPoly(image, hull, tuple(map(int, colour)))

    fill(slice(0, 68), skin)
    for eye in (slice(36, 42), slice(42, 48)):
        fill(eye, rng.integers(0, 90, 3))
    fill(slice(27, 36), skin - 25)
    fill(slice(48, 60), rng.integers((120, 20, 20), (220, 90, 90)))
    grain = cv2.GaussianBlur(rng.normal(0, 25, (*size, 3)), (0, 0), 1.2)
    pixels = np.clip(image + grain, 0, 255).astype(np.uint8)
    pixels.flags.writeable = points.flags.writeable = False
    return FacePhoto(pixels, points, f"person {person}")


@lru_cache
def astronaut(side=128):
    """The face of skimage's photograph (Eileen Collins, NASA), landmarks fitted by hand."""
    left, top, extent = 158, 36, 140
    crop = data.astronaut()[top : top + extent, left : left + extent]
    image = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    centre, radii = np.array([0.48, 0.56]), np.array([0.3, 0.36])
    points = (centre + template() * radii) * side
    return FacePhoto(image, points.astype(np.float32), "astronaut")


class People(Donors):
    """Drawn people at the size of the face at hand; remembers who was asked for and who came."""

    def __init__(self, num_people=4, **placing):
        self.num_people = num_people
        self.placing = placing
        self.calls = []

    def draw(self, face, rng):
        photos = [self.photo(number, face) for number in range(self.num_people)]
        others = [photo for photo in photos if photo.person != face.person]
        chosen = others[int(rng.integers(len(others)))]
        self.calls.append((face.person, chosen.person))
        return chosen

    def nearest(self, face, rng, among):
        drawn = [self.draw(face, rng) for _ in range(min(among, 3))]
        return min(drawn, key=lambda photo: np.square(photo.landmarks - face.landmarks).sum())

    def photo(self, number, face):
        placing = {"turn": 0.06 * number - 0.1, **self.placing}
        return drawn_face(number, face.image.shape[:2], **placing)
