"""Face swap by landmarks: another person's face bent to fit, its colours and seam matched."""

from __future__ import annotations

from typing import Literal

import numpy as np

from clad.checks import expect_choice, expect_range
from clad.synthesis.base import Donors, FacePhoto, ImageArray, MaskArray
from clad.synthesis.face_blend import Blend, BlendKind, paste
from clad.synthesis.face_colour import ColourTransfer, transfer_colours
from clad.synthesis.face_forger import FaceForger
from clad.synthesis.face_regions import (
    RegionKind,
    draw_one,
    expect_choices,
    face_region,
    shrunk,
    with_forehead,
)
from clad.synthesis.face_warp import piecewise_affine, read_face, similarity, similarity_map

Warp = Literal["triangles", "similarity"]
COLOURS = ("lab", "mean", "none")


class LandmarkSwap(FaceForger):
    """Another person's face, warped onto the landmarks of this one and blended in.

    This is the classical graphics pipeline (landmarks, warp, colour transfer, blending), done in
    2-D. The real image is the photo itself, and the forged one differs inside the mask only.

    Args:
        warps: ``triangles`` bends each triangle of landmarks onto its counterpart, so that the
            expression is the target's; ``similarity`` turns, zooms and shifts the donor only. One
            is drawn evenly; a name given twice is drawn twice as often.
        regions: Kinds of regions, likewise; ``hull`` and ``forehead`` are swaps of the whole face.
        blends: ``poisson`` (no seam) or ``feather`` (soft edge), likewise.
        colours: ``lab`` (mean and spread), ``mean`` or ``none``.
        among: How many random faces of other people the donor is the most alike of; 1 takes
            anybody, whatever the pose.
        feather: Width of the soft edge as a share of the region's longer side.

    Source: the pipeline of FaceSwap as described for FaceForensics++ (Rössler et al., ICCV 2019,
    arXiv:1901.08971, section 3); colours by Reinhard et al., 2001; Poisson Image Editing, Pérez et
    al., 2003.
    """

    def __init__(
        self,
        warps: tuple[Warp, ...] = ("triangles", "similarity"),
        regions: tuple[RegionKind, ...] = ("hull", "forehead"),
        blends: tuple[BlendKind, ...] = ("poisson", "feather"),
        colours: ColourTransfer = "lab",
        among: int = 20,
        feather: float = 0.1,
    ) -> None:
        expect_choices("warps", warps, ("triangles", "similarity"))
        expect_choices("regions", regions, ("hull", "forehead", "full", "components", "extended"))
        expect_choices("blends", blends, ("poisson", "feather"))
        expect_choice("colours", colours, COLOURS)
        expect_range("among", among, 1, 10**6)
        expect_range("feather", feather, 0, 1)
        self.warps, self.regions, self.blends = tuple(warps), tuple(regions), tuple(blends)
        self.colours, self.among, self.feather = colours, among, feather

    def propose(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Blend | None:
        """Another person's face on the landmarks of this one."""
        donor = donors.nearest(face, rng, self.among)
        size = face.image.shape[0], face.image.shape[1]
        region = face_region(face.landmarks, draw_one(self.regions, rng), size)  # type: ignore[arg-type]
        warp, blend = draw_one(self.warps, rng), draw_one(self.blends, rng)
        warped = warped_face(donor, face, warp)  # type: ignore[arg-type]
        if warped is None:
            return None
        source, known = warped
        region &= shrunk(known)
        if not region.any():
            return None
        source = transfer_colours(source, face.image, region, self.colours)
        return paste(face.image, source, region, blend, self.feather)  # type: ignore[arg-type]


def warped_face(
    donor: FacePhoto, face: FacePhoto, warp: Warp
) -> tuple[ImageArray, MaskArray] | None:
    """The donor on the landmarks of ``face``, and where it has pixels.

    Returns:
        (H, W, 3) uint8 and (H, W) bool; None if the landmarks lie on one line or on one point.
    """
    size = face.image.shape[0], face.image.shape[1]
    if warp == "similarity":
        matrix = similarity(donor.landmarks, face.landmarks)
        if matrix is None:
            return None
        return read_face(donor.image, *similarity_map(matrix, size))
    bent = piecewise_affine(with_forehead(face.landmarks), with_forehead(donor.landmarks), size)
    if bent is None:
        return None
    columns, rows, has_triangle = bent
    source, inside = read_face(donor.image, columns, rows)
    return source, inside & has_triangle
