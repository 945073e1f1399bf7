"""Generators at work on images of a data set, held to their contracts."""

from __future__ import annotations

import numpy as np

from clad.data.donors import as_photo
from clad.data.images import ImageArray, MaskArray
from clad.samples import Sample
from clad.synthesis.base import Donors, FaceSynthesizer, Forgery, Synthesizer


def synthesise(
    generator: Synthesizer, image: ImageArray, rng: np.random.Generator
) -> tuple[ImageArray, MaskArray]:
    """Anomalous copy and its mask, held to the generator's contract.

    Raises:
        ValueError: If the result has another shape or type, or an empty mask.
    """
    image = image.view()
    image.flags.writeable = False
    anomalous, mask = generator(image, rng)
    expect_changed(generator, image, anomalous, mask)
    return anomalous, mask


def forge(
    generator: FaceSynthesizer,
    sample: Sample,
    image: ImageArray,
    donors: Donors,
    rng: np.random.Generator,
) -> Forgery:
    """A forged face, held to the generator's contract.

    Args:
        generator: Forges.
        sample: A real face with landmarks.
        image: (H, W, 3) uint8 RGB of it, perhaps resized.
        donors: Other people at the same size.
        rng: Source of all randomness.

    Raises:
        ValueError: If an image has another shape or type, or the mask is empty.
    """
    photo = as_photo(sample, image.view())
    photo.image.flags.writeable = False
    made = generator.forge(photo, donors, rng)
    expect_changed(generator, image, made.image, made.mask)
    if made.real.shape != image.shape or made.real.dtype != np.uint8:
        raise ValueError(
            f"expected {type(generator).__name__} to give a real image uint8 {image.shape}, "
            f"got {made.real.dtype} {made.real.shape}; correct the generator"
        )
    return made


def expect_changed(
    generator: Synthesizer, image: ImageArray, anomalous: ImageArray, mask: MaskArray
) -> None:
    """Hold an anomalous copy and its mask to the contract.

    Raises:
        ValueError: If the result has another shape or type, or an empty mask.
    """
    is_valid = (
        anomalous.shape == image.shape
        and anomalous.dtype == np.uint8
        and mask.shape == image.shape[:2]
        and mask.dtype == bool
        and mask.any()
    )
    if not is_valid:
        raise ValueError(
            f"expected {type(generator).__name__} to give uint8 {image.shape} and a bool mask "
            f"{image.shape[:2]} that is not empty, got {anomalous.dtype} {anomalous.shape} and "
            f"{mask.dtype} {mask.shape} with {int(mask.sum())} pixels; correct the generator"
        )
