"""Several face generators as one: each face gets one of them at random."""

from __future__ import annotations

import numpy as np

from clad.synthesis.base import Donors, FacePhoto, FaceSynthesizer, Forgery


class ForgeryMixture(FaceSynthesizer):
    """One generator drawn by weight for each face.

    Args:
        generators: Generators to draw from.
        weights: Relative frequency of each generator, >= 0; equal if not given.
    """

    def __init__(
        self,
        generators: list[FaceSynthesizer],
        weights: tuple[float, ...] | None = None,
    ) -> None:
        if not generators:
            raise ValueError("expected at least one generator, got none; list some")
        shares = np.ones(len(generators)) if weights is None else np.asarray(weights, np.float64)
        if len(shares) != len(generators):
            raise ValueError(
                f"expected {len(generators)} weights, one per generator, got {len(shares)}"
            )
        if not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() == 0:
            raise ValueError(
                f"expected weights >= 0 with a positive sum, got {tuple(map(float, shares))}"
            )
        self.generators = list(generators)
        self.probabilities = shares / shares.sum()

    def bare(self) -> FaceSynthesizer:
        """The same mixture of bare generators."""
        generators = [generator.bare() for generator in self.generators]
        return ForgeryMixture(generators, tuple(map(float, self.probabilities)))

    def forge(self, face: FacePhoto, donors: Donors, rng: np.random.Generator) -> Forgery:
        """A face forged by one of the generators; see ``FaceSynthesizer``."""
        chosen = int(rng.choice(len(self.generators), p=self.probabilities))
        return self.generators[chosen].forge(face, donors, rng)
