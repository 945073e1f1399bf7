"""Eyes, mouth or nose of another person in this face."""

from __future__ import annotations

import numpy as np

from clad.checks import expect_choice, expect_range
from clad.synthesis.base import Donors, FacePhoto, ImageArray, MaskArray
from clad.synthesis.face_blend import Blend, BlendKind, compose, paste
from clad.synthesis.face_colour import ColourTransfer, transfer_colours
from clad.synthesis.face_forger import FaceForger
from clad.synthesis.face_regions import (
    PartKind,
    draw_one,
    expect_choices,
    part_landmarks,
    part_region,
    shrunk,
)
from clad.synthesis.face_warp import read_face, similarity, similarity_map

PARTS = ("eyes", "mouth", "nose")
COLOURS = ("lab", "mean", "none")


class PartSwap(FaceForger):
    """One or more parts of a donor's face, turned and zoomed to fit, colours matched, blended in.

    All parts of one image come from one donor. The real image is the photo itself, and the forged
    one differs inside the mask only.

    Args:
        parts: Which parts are swapped: ``eyes`` (both, with brows), ``mouth``, ``nose``.
        count: Fewest and most parts in one image.
        blends: ``poisson`` (no seam) or ``feather`` (soft edge), drawn evenly; a name given twice
            is drawn twice as often.
        colours: ``lab`` (mean and spread), ``mean`` or ``none``.
        among: How many random faces of other people the donor is the most alike of; 1 takes
            anybody, whatever the pose.
        margin: By how much a part is widened, as a share of the distance between the outer corners
            of the eyes.
        feather: Width of the soft edge as a share of the part's longer side.

    Source: no paper's; the steps of a face swap by landmarks (Rössler et al., ICCV 2019,
    arXiv:1901.08971, section 3), for a part of the face.
    """

    def __init__(
        self,
        parts: tuple[PartKind, ...] = ("eyes", "mouth", "nose"),
        count: tuple[int, int] = (1, 2),
        blends: tuple[BlendKind, ...] = ("poisson", "feather"),
        colours: ColourTransfer = "lab",
        among: int = 20,
        margin: float = 0.08,
        feather: float = 0.15,
    ) -> None:
        expect_choices("parts", parts, PARTS)
        if len(set(parts)) < len(parts):
            raise ValueError(f"expected each part once, got {', '.join(parts)}")
        if len(count) != 2 or not 1 <= count[0] <= count[1] <= len(parts):
            raise ValueError(
                f"expected count to be (fewest, most) within [1, {len(parts)}], got {tuple(count)}"
            )
        expect_choices("blends", blends, ("poisson", "feather"))
        expect_choice("colours", colours, COLOURS)
        expect_range("among", among, 1, 10**6)
        expect_range("margin", margin, 0, 0.5)
        expect_range("feather", feather, 0, 1)
        self.parts, self.count, self.blends = tuple(parts), tuple(count), tuple(blends)
        self.colours, self.among = colours, among
        self.margin, self.feather = margin, feather

    def propose(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Blend | None:
        """Random parts of another person."""
        donor = donors.nearest(face, rng, self.among)
        number = int(rng.integers(self.count[0], self.count[1] + 1))
        chosen = rng.choice(len(self.parts), size=number, replace=False)
        how = draw_one(self.blends, rng)
        image, union = face.image, np.zeros(face.image.shape[:2], dtype=bool)
        for index in sorted(chosen):
            made = self._one_part(image, face, donor, self.parts[index], how)  # type: ignore[arg-type]
            if made is not None:
                # Parts may touch: a later one is blended with what the earlier left.
                image, mask = compose(made)
                union |= mask
        return Blend(face.image, image, union.astype(np.float32))

    def _one_part(
        self,
        image: ImageArray,
        face: FacePhoto,
        donor: FacePhoto,
        part: PartKind,
        how: BlendKind,
    ) -> Blend | None:
        """One part pasted into ``image``; None if it lies outside of it or of the donor's."""
        size = face.image.shape[0], face.image.shape[1]
        points = part_landmarks(part)
        matrix = similarity(donor.landmarks[points], face.landmarks[points])
        if matrix is None:
            return None
        source, known = read_face(donor.image, *similarity_map(matrix, size))
        region: MaskArray = part_region(face.landmarks, part, size, self.margin) & shrunk(known)
        if not region.any():
            return None
        source = transfer_colours(source, face.image, region, self.colours)
        return paste(image, source, region, how, self.feather)
