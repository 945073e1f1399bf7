"""How anomalous an image embedding is beside the words: shared by the heads that score by it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from clad.alignment import gaussian_anomaly
from clad.types import Alignment

Output = Literal["logit", "probability", "gaussian"]


def image_evidence(alignment: Alignment, output: Output, sigma: float) -> Tensor:
    """(B,) float scores from the image logits; larger = more anomalous.

    Args:
        alignment: Of B images with (normal, anomalous) prototypes.
        output: ``logit`` is the difference of the two logits (unbounded; keeps the order where a
            softmax saturates); ``probability`` its sigmoid, which is CLIP's softmax; ``gaussian``
            CLAD's 1 - S(image, normal words), which looks at the normal prototype alone.
        sigma: Width of S in units of a squared distance; only ``gaussian`` looks at it.
    """
    logits_B2 = alignment.image_logits.float()
    if output == "gaussian":
        return gaussian_anomaly(logits_B2[:, 0] / alignment.logit_scale, sigma)
    difference = logits_B2[:, 1] - logits_B2[:, 0]
    return difference if output == "logit" else torch.sigmoid(difference)
