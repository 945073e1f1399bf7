"""WinCLIP without any image of the category: words against windows of several sizes."""

from __future__ import annotations

from clad.alignment import anomaly_probability
from clad.features import enlarge
from clad.heads.base import Head
from clad.heads.windows import expect_windows, text_map
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction


class WinCLIP(Head):
    """Probability of the anomalous words, for the image and for every patch; nothing is learned.

    The score is that of the whole image. The map is the harmonic mean over three scales: the whole
    image, and for each size of windows the harmonic mean over the windows that cover a patch. The
    tower has to give windows (``window_sides: [2, 3]``), the task a ``temperature`` of 0.07.

    Source: WinCLIP (Jeong et al., CVPR 2023, arXiv:2303.14814).
    """

    needs_text = True

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Check that the tower gives windows.

        Raises:
            ValueError: If it does not.
        """
        del class_names
        expect_windows(tower)

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores and maps in [0, 1]."""
        del categories
        assert alignment is not None
        scores = anomaly_probability(alignment.image_logits)
        return Prediction(scores, enlarge(text_map(features, alignment), image_size))
