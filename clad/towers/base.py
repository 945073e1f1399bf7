"""The tower contract: image and text encoders with one embedding space, frozen by default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_shape
from clad.towers.classifier import Classifier
from clad.types import ImageFeatures

LayerHook = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """One step in the depth of an encoder.

    Args:
        module: Gives the states, or a tuple that starts with them.
        width: Channels of those states.
        channels_dim: Where the channels are: -1 in tokens (B, T, C), 1 in maps (B, C, H, W).
    """

    module: nn.Module
    width: int
    channels_dim: int = -1


@dataclass(frozen=True)
class EncoderParts:
    """What tuning may train or wrap on one side of a tower.

    Args:
        blocks: In order of depth; what lies before them (patches, words, positions) is left alone.
        final: Weights after the last block: final norm and projection into the shared space.
    """

    blocks: tuple[Block, ...]
    final: tuple[nn.Parameter, ...]


class Tower(nn.Module, ABC):
    """Images and words -> features. Owns size, interpolation, mean and standard deviation.

    A subclass calls ``super().__init__`` with its pixel statistics, loads its weights in
    ``__init__`` and ends it with ``self.freeze()``. What is trained later is the decision of the
    ``tuning`` slot. Everything a loader yields is uint8 RGB (or float in [0, 1]).

    Args:
        image_size: (height, width) that the encoder sees.
        mean: Per-channel mean in [0, 1] units.
        std: Per-channel standard deviation in [0, 1] units.
        interpolation: ``bilinear`` or ``bicubic``; used when images come in another size.
    """

    mean: Tensor
    std: Tensor

    embed_dim: int
    """D, the width of the space shared by image and text."""

    summary_dim: int
    """Width of ``ImageFeatures.summary``."""

    token_dims: tuple[int, ...]
    """C_l, the width of the patch tokens of each chosen layer."""

    logit_scale: float = 100.0
    """Multiplier of cosines (exp of CLIP's learned value)."""

    has_text: ClassVar[bool] = True
    """False for image-only towers: ``encode_text`` then refuses."""

    is_aligned: bool = True
    """Whether image and text weights were trained together; False for random weights."""

    window_sides: tuple[int, ...] = ()
    """Sides in patches of the windows whose embeddings come out; () gives none."""

    image_prompt_dim: int | None = None
    """Width of the states that learnable tokens can join on the image side; None if they cannot."""

    image_prompt_layers: int = 0
    """Layers before which they can."""

    image_prompts: nn.Module | None
    """Learnable tokens of the image side, put here by a tuning: ``context (B, D) -> LayerHook``.

    The hook gets class token and patches before each layer, (B, 1 + P, C), and may append tokens,
    which it finds behind them in later layers. ``encode_pixels`` first runs a plain pass without
    gradients, whose embedding is ``context``.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        interpolation: str = "bicubic",
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.interpolation = interpolation
        self.register_module("image_prompts", None)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def freeze(self) -> None:
        """Stop gradients into every weight and switch to evaluation mode."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Tower:
        """Training mode only where weights learn: dropout and batch statistics rest elsewhere."""
        super().train(False)
        if mode:
            for _, module in self.learning_modules():
                module.training = True
        return self

    def learning_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Name and module of whatever training may change, outer ones first.

        Left out are modules that have weights of which none learns, with all they hold. What has no
        weights of its own (dropout) goes with the module that holds it.
        """
        if any(parameter.requires_grad for parameter in self.parameters()):
            yield from _learning("", self)

    def prepare(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Normalised pixels of the tower's own size.

        Args:
            images: (B, 3, H, W) uint8, or float in [0, 1].
            size: (height, width) in place of the tower's own (RepDFD's inner image).

        Returns:
            (B, 3, *size) float: (pixel - mean) / std.
        """
        expect_shape("images", images, (None, 3, None, None))
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        size = size or self.image_size
        if tuple(pixels.shape[-2:]) != size:
            pixels = functional.interpolate(
                pixels,
                size=size,
                mode=self.interpolation,
                align_corners=False,
                antialias=True,
            ).clamp(0, 1)
        return (pixels - self.mean) / self.std

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Features of raw images: ``encode_pixels(prepare(images))``."""
        return self.encode_pixels(self.prepare(images))

    @abstractmethod
    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Features of normalised pixels (what ``prepare`` returns, perhaps changed by ``inputs``).

        Args:
            pixels: (B, 3, *image_size) float.
        """

    def forward(self, pixels: Tensor) -> ImageFeatures:
        """``encode_pixels``; this way passes through what ``compile()`` made of it."""
        return self.encode_pixels(pixels)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """(N, D) float embeddings, not normalised (WinCLIP averages raw, APRIL-GAN unit vectors).

        Raises:
            ValueError: If a text is empty, or the tower has no text side.
        """
        if not texts or any(not text.strip() for text in texts):
            raise ValueError(f"expected non-empty texts, got {list(texts)!r}")
        ids = self.tokenize(texts)
        return self.encode_embeddings(self.embed_tokens(ids), ids)

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(N, T) int64 token ids, truncated to the longest text of the call (exact).

        Raises:
            ValueError: If a text is longer than the encoder's context, with both lengths.
        """

    @abstractmethod
    def embed_tokens(self, ids: Tensor) -> Tensor:
        """(N, T, W) float token embeddings, before positions: where learnable context goes in."""

    @abstractmethod
    def encode_embeddings(
        self, embeddings: Tensor, ids: Tensor, layer_hook: LayerHook | None = None
    ) -> Tensor:
        """(N, D) text embeddings of token embeddings; differentiable in them.

        Args:
            embeddings: (N, T, W) float.
            ids: (N, T) int64 ids that pooling and attention masks are read from.
            layer_hook: ``(layer index, (N, T, W) states) -> states``, called before each layer;
                deep prompt tokens are written there.
        """

    def classifier(self) -> Classifier | None:
        """The classifier that the image weights were trained with; None where there is none."""
        return None

    def image_parts(self) -> EncoderParts:
        """Blocks and final weights of the image encoder.

        Raises:
            ValueError: If this tower has no such structure.
        """
        raise ValueError(
            f"expected a tower that tells the blocks of its image encoder, got "
            f"{type(self).__name__}; use configs/tuning/frozen.yaml or full.yaml"
        )

    def text_parts(self) -> EncoderParts:
        """Blocks and final weights of the text encoder.

        Raises:
            ValueError: If this tower has no such structure.
        """
        raise ValueError(
            f"expected a tower that tells the blocks of its text encoder, got "
            f"{type(self).__name__}; tune its image encoder only"
        )

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """Weights that text embeddings depend on; all of the tower's unless a subclass knows."""
        return self.parameters()

    def replace_text_projection(self, projection: nn.Module) -> None:
        """Let the last step of the text encoder be ``projection``: pooled (N, W) -> (N, D).

        W is the width of the last text block; the states have passed the encoder's final norm.

        Raises:
            ValueError: If this tower has no such step.
        """
        del projection
        raise ValueError(
            f"expected a tower whose text projection can be replaced, got {type(self).__name__}; "
            "set text_projection to false"
        )


def _learning(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield name, module
    for own, child in module.named_children():
        weights = list(child.parameters())
        if not weights or any(weight.requires_grad for weight in weights):
            yield from _learning(f"{name}.{own}".lstrip("."), child)
