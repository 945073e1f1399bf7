"""The verdict of a checkpoint's own classifier, its labels read by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from clad.heads.base import Head
from clad.heads.text_maps import difference
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction

_REAL = frozenset(
    ["real", "realism", "realistic", "genuine", "authentic", "original", "pristine", "bonafide"]
)
_FAKE = frozenset(
    ["fake", "deepfake", "forged", "manipulated", "synthetic", "generated", "spoof", "ai"]
)
_NEUTRAL = frozenset(
    ["image", "images", "photo", "photos", "picture", "face", "faces", "video", "frame", "a", "an"]
)


def normal_and_anomalous(labels: Sequence[str]) -> tuple[int, int]:
    """Rows of the real and of the fake class, by their names and never by their order.

    Args:
        labels: Names in the order of the classifier's rows, e.g. ``("Deepfake", "Realism")``.

    Raises:
        ValueError: If they are not one name for real and one for fake images.
    """
    kinds = [_kind(label) for label in labels]
    if sorted(kinds) != ["fake", "real"]:
        raise ValueError(
            "expected two labels, one that means real and one that means fake, got "
            f"{', '.join(repr(label) for label in labels)}; rename them in id2label of config.json "
            "to real and fake, if you know which is which"
        )
    return kinds.index("real"), kinds.index("fake")


def _kind(label: str) -> str:
    """``real``, ``fake``, or "" for a name that could mean anything."""
    words = set(re.findall(r"[a-z]+|\d+", label.lower())) - _NEUTRAL
    if words and words <= _REAL:
        return "real"
    return "fake" if words and words <= _FAKE else ""


class OwnClassifier(Head):
    """Normal and anomalous logits from the classifier that the tower's weights were trained with.

    Nothing learns. The labels decide which row is which: some checkpoints have real first, some
    fake. For a checkpoint of another purpose, or further training, use configs/head/linear.yaml.

    Raises:
        ValueError: On ``attach``, if the tower has no classifier, or its labels are not one for
            real and one for fake images.
    """

    classifies = True

    weight: Tensor
    bias: Tensor

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Take over the two rows; categories do not matter."""
        del class_names
        found = tower.classifier()
        if found is None:
            raise ValueError(
                f"expected a tower with a classifier of its own for {type(self).__name__}, got "
                f"{type(tower).__name__}; use configs/tower/hf_image_classifier.yaml, or "
                "configs/head/linear.yaml, which learns one"
            )
        rows = list(normal_and_anomalous(found.labels))
        # Not kept in checkpoints: they are the tower's.
        for name, value in (("weight", found.weight), ("bias", found.bias)):
            self.register_buffer(name, value.detach()[rows].clone(), persistent=False)

    def classify(self, features: ImageFeatures, alignment: Alignment | None) -> Alignment:
        """Logits of images; none of patches."""
        del alignment
        rows = features.summary.to(self.weight.dtype)
        return Alignment(functional.linear(rows, self.weight, self.bias), (), ())

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores without maps: the fake logit less the real one, whose sigmoid is its softmax."""
        del categories, image_size
        return Prediction(difference(self.classify(features, alignment).image_logits))
