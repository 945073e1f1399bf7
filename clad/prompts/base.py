"""The prompt contract: class names and words -> text prototypes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from clad.precision import full_precision
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes

TEXTS_PER_CALL = 64


class PromptStrategy(nn.Module, ABC):
    """Class names -> one normal and one anomalous prototype each. One file and one YAML each.

    Without trainable parameters and with a frozen text tower the task computes prototypes once per
    set of class names and keeps them (``PrototypeCache``).
    """

    per_image: bool = False
    """Whether prototypes depend on the image (RepDFD's Face2Text, AdaCLIP's dynamic prompts)."""

    def attach(self, tower: Tower) -> None:
        """Create parameters whose shape depends on the tower; called once, before training."""

    @abstractmethod
    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """Unit-norm prototypes of the class names, in their order.

        Args:
            class_names: K category names as the data set spells them; words are looked up by them.
            tower: Encodes the words.
            batch: The images; only strategies with ``per_image`` look at it.
            features: What tower and adapter say of the batch; likewise.

        Raises:
            ValueError: If ``class_names`` is empty or has duplicates.
        """


def expect_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The class names as a tuple.

    Raises:
        ValueError: If there is none, or one occurs twice.
    """
    names = tuple(class_names)
    if isinstance(class_names, str) or not names:
        raise ValueError(f"expected at least one class name in a list, got {class_names!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each class name once, got {twice} more than once; remove them")
    return names


def encode_texts(tower: Tower, texts: Sequence[str]) -> Tensor:
    """Embeddings of any number of texts, a few at a time, so that memory stays bounded.

    Texts of about one length go together, because a call takes as many tokens as its longest needs.

    Returns:
        (N, D) float32 or float64, not normalised; with a graph only where the tower learns.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and _learns(tower.text_parameters())):
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        parts = [
            tower.encode_text([texts[n] for n in order[start : start + TEXTS_PER_CALL]])
            for start in range(0, len(texts), TEXTS_PER_CALL)
        ]
        places = torch.tensor(order).argsort().to(parts[0].device)
        embeddings = torch.cat(parts)[places]
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


class PrototypeCache:
    """Text prototypes that are computed once, as long as nothing behind them learns.

    Kept prototypes are computed without autocast and outside inference mode, so those of a
    validation run serve training, too.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], TextPrototypes] = {}
        self._made_by: tuple[PromptStrategy, Tower, torch.device] | None = None

    def get(
        self,
        strategy: PromptStrategy,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """Prototypes of the class names, kept from an earlier call where that is exact.

        They are made anew where the strategy looks at images, where a parameter of strategy or
        text encoder learns, and where strategy, tower or device is another than before.
        """
        if strategy.per_image or _learns(strategy.parameters(), tower.text_parameters()):
            return strategy(class_names, tower, batch, features)
        device = tower.mean.device
        made_by = (strategy, tower, device)
        if self._made_by != made_by:
            self.clear()
            self._made_by = made_by
        names = tuple(class_names)
        if names not in self._kept:
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                full_precision(device),
            ):
                self._kept[names] = strategy(class_names, tower)
        return self._kept[names]

    def clear(self) -> None:
        """Forget everything; call it after frozen weights were replaced."""
        self._kept.clear()
        self._made_by = None


def _learns(*parameters: Iterator[nn.Parameter]) -> bool:
    return any(parameter.requires_grad for parameter in chain(*parameters))
