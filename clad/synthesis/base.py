"""The synthesis contract: a normal image in, an anomalous image and its exact mask out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

ImageArray = NDArray[np.uint8]
MaskArray = NDArray[np.bool_]


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
