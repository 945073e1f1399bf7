"""Face X-ray's blended pairs: the face of somebody with much the same landmarks, pasted in."""

from __future__ import annotations

from functools import partial

import numpy as np

from clad.checks import expect_range
from clad.synthesis.base import Donors, FacePhoto, Forgery, ImageArray, MaskArray
from clad.synthesis.face_blend import Blend
from clad.synthesis.face_colour import Change, chain, coarsen, compress, transfer_colours
from clad.synthesis.face_forger import FaceForger
from clad.synthesis.face_masks import dilated, eroded, feathered, grid_warped, scaled_kernel
from clad.synthesis.face_regions import RegionKind, draw_one, expect_choices, face_region
from clad.synthesis.face_warp import mirrored, read_face, similarity, similarity_map
from clad.synthesis.local import expect_interval

REGIONS = ("hull", "forehead", "full", "components", "extended")

# Numbers of the authors' data code.
FULL_SIDE_PX = 317
BLEND_SIDES_PX, LATER_SIDES_PX = (128, 317), (64, 317)
LATER_PROBABILITY = 0.5
GRID_STRENGTH = (0.01, 0.15)
MAX_ERODE_PX, MAX_DILATE_PX = 21, 5


class FaceXray(FaceForger):
    """Another person's face in place of this one, chosen by landmarks, with a feathered edge.

    The region is warped at random, then eroded or dilated; the donor gets the mean colour of the
    target in it. Both images then lose resolution, and at times are compressed and mirrored. The
    boundary that the method learns to see is ``clad.synthesis.face_masks.boundary_map``.

    Differs from the authors' code: resolution is lost after blending, and by the real image, too
    (in the code by the blended one only, which gives it away); sizes in pixels are those of an
    image of 256 px and scale with it; the feather counts from the region's edge.

    Args:
        among: How many random faces of other people the most alike is chosen from (paper: 5000).
        align: Whether the donor is also turned, zoomed and shifted to fit the landmarks; for small
            collections, where even the most alike face does not fit well.
        regions: Kinds of regions, drawn evenly; a name given twice is drawn twice as often.
        feather: Width of the soft edge as a share of the region's longer side.
        jpeg_probability: Chance that both images are compressed.
        jpeg_quality: Lowest and highest quality.
        flip_probability: Chance to mirror both.

    Source: Li et al., CVPR 2020, arXiv:1912.13458, section 4.1; data code of the authors
    (AlgoHunt/Face-Xray, bi_online_generation.py).
    """

    def __init__(
        self,
        among: int = 100,
        align: bool = False,
        regions: tuple[RegionKind, ...] = ("full", "extended", "components", "hull"),
        feather: float = 0.2,
        jpeg_probability: float = 0.5,
        jpeg_quality: tuple[int, int] = (60, 100),
        flip_probability: float = 0.5,
    ) -> None:
        expect_range("among", among, 1, 10**6)
        expect_choices("regions", regions, REGIONS)
        expect_range("feather", feather, 0, 1)
        expect_range("jpeg_probability", jpeg_probability, 0, 1)
        expect_interval("jpeg_quality", jpeg_quality, 1, 100)
        expect_range("flip_probability", flip_probability, 0, 1)
        self.among, self.align = among, align
        self.regions, self.feather = tuple(regions), feather
        self.jpeg_probability, self.jpeg_quality = jpeg_probability, tuple(jpeg_quality)
        self.flip_probability = flip_probability

    def prepare(self, face: FacePhoto, rng: np.random.Generator) -> FacePhoto:
        """The photo, mirrored at times."""
        return mirrored(face) if rng.random() < self.flip_probability else face

    def propose(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Blend | None:
        """The most alike face with the colours of this one in a random region."""
        size = face.image.shape[0], face.image.shape[1]
        source, known = self._fitted(donors.nearest(face, rng, self.among), face)
        region = face_region(face.landmarks, draw_one(self.regions, rng), size)  # type: ignore[arg-type]
        region = grid_warped(region, float(rng.uniform(*GRID_STRENGTH)), rng)
        region = eroded_or_dilated(region, rng) & known
        if not region.any():
            return None
        source = transfer_colours(source, face.image, region, "mean")
        return Blend(face.image, source, feathered(region, self.feather))

    def finish(self, made: Forgery, face: FacePhoto, rng: np.random.Generator) -> Forgery:
        """Both images coarser, and compressed at times."""
        del face
        changes: list[Change] = [partial(coarsen, share=_share(BLEND_SIDES_PX, rng))]
        if rng.random() < LATER_PROBABILITY:
            nearest = bool(rng.random() < 0.5)
            changes.append(partial(coarsen, share=_share(LATER_SIDES_PX, rng), nearest=nearest))
        if rng.random() < self.jpeg_probability:
            low, high = self.jpeg_quality
            changes.append(partial(compress, quality=int(rng.integers(low, high + 1))))
        change = chain(changes)
        return Forgery(change(made.image), made.mask, change(made.real))

    def _fitted(self, donor: FacePhoto, face: FacePhoto) -> tuple[ImageArray, MaskArray]:
        """The donor's image, and where it has pixels."""
        matrix = similarity(donor.landmarks, face.landmarks) if self.align else None
        if matrix is None:
            return donor.image, np.ones(donor.image.shape[:2], dtype=bool)
        size = face.image.shape[0], face.image.shape[1]
        return read_face(donor.image, *similarity_map(matrix, size))


def eroded_or_dilated(region: MaskArray, rng: np.random.Generator) -> MaskArray:
    """The region with a random kernel, at 256 px up to 21 px wide to erode or 5 to dilate."""
    is_eroded = rng.random() < 0.5
    kernel_px = int(rng.integers(1, (MAX_ERODE_PX if is_eroded else MAX_DILATE_PX) + 1))
    kernel_px = scaled_kernel(kernel_px, (region.shape[0], region.shape[1]))
    return eroded(region, kernel_px) if is_eroded else dilated(region, kernel_px)


def _share(sides_px: tuple[int, int], rng: np.random.Generator) -> float:
    return int(rng.integers(sides_px[0], sides_px[1] + 1)) / FULL_SIDE_PX
