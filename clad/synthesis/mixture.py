"""Several generators as one: each image gets one or a few of them at random."""

from __future__ import annotations

import numpy as np

from clad.synthesis.base import ImageArray, MaskArray, Synthesizer


class Mixture(Synthesizer):
    """One or more generators drawn by weight; their changes add up and the mask is their union.

    Args:
        generators: Generators to draw from.
        weights: Relative frequency of each generator, >= 0; equal if not given.
        count: Fewest and most generators applied to one image, one after the other.
    """

    def __init__(
        self,
        generators: list[Synthesizer],
        weights: tuple[float, ...] | None = None,
        count: tuple[int, int] = (1, 2),
    ) -> None:
        if not generators:
            raise ValueError("expected at least one generator, got none; list some")
        shares = np.ones(len(generators)) if weights is None else np.asarray(weights, np.float64)
        if len(shares) != len(generators):
            raise ValueError(
                f"expected {len(generators)} weights, one per generator, got {len(shares)}"
            )
        if not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() == 0:
            raise ValueError(f"expected weights >= 0 with a positive sum, got {tuple(shares)}")
        if len(count) != 2 or not 1 <= count[0] <= count[1]:
            raise ValueError(
                f"expected count to be (fewest, most) with 1 <= fewest <= most, got {tuple(count)}"
            )
        self.generators = list(generators)
        self.probabilities = shares / shares.sum()
        self.count = tuple(count)

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> tuple[ImageArray, MaskArray]:
        """Anomalous copy of ``image`` and the union of the masks; see ``Synthesizer``."""
        number = int(rng.integers(self.count[0], self.count[1] + 1))
        chosen = rng.choice(len(self.generators), size=number, p=self.probabilities)
        changed, union = self.generators[chosen[0]](image, rng)
        for index in chosen[1:]:
            changed, mask = self.generators[index](changed, rng)
            union = union | mask
        return changed, union
