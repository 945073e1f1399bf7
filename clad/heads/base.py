"""The head contract: features and their alignment with text -> scores and maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction


class Head(nn.Module, ABC):
    """Scores images. One file and one YAML each.

    Life of a head: ``attach``; training of the other parts; if ``needs_reference``, ``observe`` on
    every batch of normal training images between ``start_reference`` and ``finish_reference``; if
    ``needs_validation``, ``observe_validation`` likewise on validation images; then ``forward``.
    Whatever it learns on the way is in buffers and travels in checkpoints and bundles. A head never
    sees test images before ``forward``.
    """

    needs_text: bool = False
    """Whether ``forward`` needs an alignment; the task refuses a space that is not aligned."""

    needs_reference: bool = False
    """Whether it must observe normal images first."""

    needs_validation: bool = False
    """Whether its scales are fitted on validation images."""

    needs_gradients: bool = False
    """Whether ``forward`` differentiates scores with respect to ``features.tokens`` (Grad-CAM): the
    task then builds the graph from pixels to logits, even where nothing learns."""

    classifies: bool = False
    """Whether it learns (normal, anomalous) logits of its own (linear probe): losses and
    ``forward`` then see those of ``classify``, and the recipe needs no words."""

    @property
    def knows_categories(self) -> bool:
        """Whether it keeps something per category, and so cannot score other ones."""
        return self.needs_reference or self.needs_validation

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Learn the tower's widths and the categories; called once, before training."""

    def classify(self, features: ImageFeatures, alignment: Alignment | None) -> Alignment | None:
        """The alignment that losses and ``forward`` see; a head that ``classifies`` makes its own.

        Args:
            features: Of B images, adapted.
            alignment: With the text prototypes; None for recipes without words.
        """
        del features
        return alignment

    def start_reference(self) -> None:
        """Forget what was observed."""

    def observe(self, features: ImageFeatures, categories: tuple[str, ...]) -> None:
        """Take in features of normal training images."""

    def finish_reference(self) -> None:
        """Build whatever ``forward`` needs from what was observed."""

    def start_validation(self) -> None:
        """Forget what was seen of validation images."""

    def observe_validation(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        labels: tuple[int, ...],
    ) -> None:
        """Take in a batch of validation images: what scales and fusion weights are fitted on."""

    def finish_validation(self) -> None:
        """Fit scales or weights on what was seen."""

    @abstractmethod
    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores and maps of a batch.

        Args:
            features: Of B images.
            alignment: With the text prototypes; None if the head does not need text.
            categories: B names.
            image_size: (height, width) of the maps.
        """


def category_rows(class_names: Sequence[str], categories: Sequence[str]) -> Tensor:
    """(B,) int64 position of each category among the class names of the run.

    Raises:
        ValueError: If a category is not one of them.
    """
    unknown = sorted(set(categories) - set(class_names))
    if unknown:
        raise ValueError(
            f"expected categories among {', '.join(class_names)}, got {', '.join(unknown)}; "
            "train on them, or choose with --data.categories"
        )
    return torch.tensor([class_names.index(name) for name in categories], dtype=torch.long)
