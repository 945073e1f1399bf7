"""Tiny stand-ins for tests: a deterministic tower with both sides, and a batch with masks."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from clad.face_encoders.base import FaceEncoder
from clad.towers.base import Block, EncoderParts, LayerHook, Tower
from clad.towers.classifier import Classifier
from clad.types import Batch, ImageFeatures

CONTEXT = 77
VOCABULARY = 509
PAD = 0
TEXT_LAYERS = 9  # as many as AnomalyCLIP's deep tokens reach
PROMPTED_LAYERS = 4  # as many as AdaCLIP's image prompts reach
REFINEMENTS = 5  # with the two convolutions, enough blocks for AA-CLIP's six adapters


class FakeTower(Tower):
    """Seven image and nine text blocks; the same weights for the same seed.

    32 x 32 pixels give layers of 4 x 4 and 2 x 2 tokens, and windows of 2 x 2 and 3 x 3 tokens of
    the first; the five image blocks after them start as the identity. Words are hashed to token
    ids.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (32, 32),
        embed_dim: int = 16,
        aligned: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(image_size, (0.5,) * 3, (0.5,) * 3, interpolation="bilinear")
        self.embed_dim = embed_dim
        self.token_dims = (8, 12)
        self.summary_dim = 12
        self.logit_scale = 10.0
        self.image_prompt_dim = self.token_dims[0] if aligned else None
        self.image_prompt_layers = PROMPTED_LAYERS
        self.is_aligned = aligned
        self.window_sides = (2, 3) if aligned else ()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.convolutions = nn.ModuleList(
                [nn.Conv2d(3, 8, kernel_size=8, stride=8), nn.Conv2d(8, 12, 2, stride=2)]
            )
            self.projections = nn.ModuleList([nn.Linear(c, embed_dim) for c in self.token_dims])
            self.words = nn.Embedding(VOCABULARY, 12)
            self.positions = nn.Parameter(0.1 * torch.randn(CONTEXT, 12))
            self.text_layers = nn.ModuleList([nn.Linear(12, 12) for _ in range(TEXT_LAYERS)])
            self.text_projection = nn.Linear(12, embed_dim)
            self.refinements = nn.ModuleList([nn.Conv2d(12, 12, 1) for _ in range(REFINEMENTS)])
            self.rows = torch.randn(2, 12)
        for each in self.refinements:
            nn.init.dirac_(each.weight)
            nn.init.zeros_(each.bias)
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        if self.image_prompts is None:
            return self._encode(pixels)
        with torch.no_grad():
            context = self._encode(pixels).embedding
        return replace(self._encode(pixels, self.image_prompts(context)), context=context)

    def _encode(self, pixels: Tensor, layer_hook: LayerHook | None = None) -> ImageFeatures:
        tokens, grids, states = [], [], pixels
        for convolution in self.convolutions:
            states = torch.tanh(convolution(states))
            if layer_hook is not None and not tokens:
                states = self._prompted(states, layer_hook)
            grids.append((states.shape[-2], states.shape[-1]))
            if len(grids) == len(self.convolutions):
                states = nn.Sequential(*self.refinements)(states)
            tokens.append(states.flatten(2).transpose(1, 2))
        summary = tokens[-1].mean(dim=1)
        patches, pooled, embedding, windows = None, None, None, None
        if self.is_aligned:
            patches = tuple(
                functional.normalize(project(layer).float(), dim=-1)
                for project, layer in zip(self.projections, tokens, strict=True)
            )
            embedding = self.projections[-1](summary).float()  # autocast would round unit vectors
            pooled = functional.normalize(embedding, dim=-1)
            windows = tuple(self._windows(tokens[0], grids[0], side) for side in self.window_sides)
        return ImageFeatures(
            tuple(tokens),
            tuple(grids),
            summary,
            patches,
            pooled,
            windows=windows,
            window_sides=self.window_sides,
            embedding=embedding,
        )

    def _windows(self, tokens: Tensor, grid: tuple[int, int], side: int) -> Tensor:
        means = functional.avg_pool2d(tokens.transpose(1, 2).unflatten(2, grid), side, stride=1)
        projected = self.projections[0](means.flatten(2).transpose(1, 2))
        return functional.normalize(projected.float(), dim=-1)

    def _prompted(self, states: Tensor, layer_hook: LayerHook) -> Tensor:
        """The map after a few layers in which every token sees the mean of all, prompts too."""
        tokens = states.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        length = tokens.shape[1]
        for layer in range(PROMPTED_LAYERS):
            tokens = layer_hook(layer, tokens)
            tokens = torch.tanh(tokens + tokens.mean(dim=1, keepdim=True))
        return tokens[:, 1:length].transpose(1, 2).reshape(states.shape)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        rows = [
            [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in words]
            for words in (re.findall(r"\w+|[^\w\s]", text.lower()) for text in texts)
        ]
        longest = max(len(row) for row in rows)
        if longest > CONTEXT:
            raise ValueError(f"expected at most {CONTEXT} tokens, got {longest}; shorten")
        padded = [row + [PAD] * (longest - len(row)) for row in rows]
        return torch.tensor(padded, device=self.mean.device)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.words(ids)

    def encode_embeddings(
        self, embeddings: Tensor, ids: Tensor, layer_hook: LayerHook | None = None
    ) -> Tensor:
        mask = (ids != PAD).unsqueeze(-1).to(embeddings.dtype)
        count = mask.sum(dim=1)
        states = embeddings + self.positions[: ids.shape[1]]
        for index, layer in enumerate(self.text_layers):
            if layer_hook is not None:
                states = layer_hook(index, states)
            context = (states * mask).sum(dim=1, keepdim=True) / count.unsqueeze(1)
            states = states + torch.tanh(layer(states + context))
        return self.text_projection((states * mask).sum(dim=1) / count)

    def classifier(self) -> Classifier:
        """Two classes; the last tokens' mean is the summary."""
        return Classifier(
            ("real", "fake"),
            self.rows,
            torch.tensor([0.0, 0.5]),
            lambda features: (features.tokens[-1], features.grids[-1]),
        )

    def image_parts(self) -> EncoderParts:
        convolutions = (*self.convolutions, *self.refinements)
        blocks = (Block(each, each.out_channels, channels_dim=1) for each in convolutions)
        return EncoderParts(tuple(blocks), tuple(self.projections.parameters()))

    def text_parts(self) -> EncoderParts:
        blocks = (Block(layer, layer.out_features) for layer in self.text_layers)
        return EncoderParts(tuple(blocks), tuple(self.text_projection.parameters()))

    def text_parameters(self) -> Iterator[nn.Parameter]:
        parts = (self.convolutions, self.refinements, self.projections)
        image = {id(weight) for part in parts for weight in part.parameters()}
        return (weight for weight in self.parameters() if id(weight) not in image)

    def replace_text_projection(self, projection: nn.Module) -> None:
        self.text_projection = projection


class FakeFaceEncoder(FaceEncoder):
    """Six numbers per face: colours of its two halves, from crops of 8 x 4 pixels."""

    def __init__(self, gain: float = 0.1) -> None:
        super().__init__((8, 4), embed_dim=6)
        self.weights = nn.Parameter(gain * torch.ones(6))
        self.num_seen = 0
        self.freeze()

    def embed(self, pixels: Tensor) -> Tensor:
        self.num_seen += len(pixels)
        halves = functional.adaptive_avg_pool2d(pixels - 127.5, (2, 1))
        return halves.flatten(1) * self.weights


def with_fake_encoder(node: Any) -> Any:
    """A part of a YAML with the fake in place of every face encoder, which has no weights here."""
    if isinstance(node, list):
        return [with_fake_encoder(each) for each in node]
    if not isinstance(node, dict):
        return node
    if str(node.get("class_path", "")).startswith("clad.face_encoders."):
        return {"class_path": f"{__name__}.{FakeFaceEncoder.__name__}"}
    return {key: with_fake_encoder(value) for key, value in node.items()}


def fake_batch(
    categories: Sequence[str] = ("bottle", "bottle", "pcb1", "pcb1"),
    labels: Sequence[int] = (0, 1, 0, 1),
    has_mask: Sequence[bool] | None = None,
    image_size: tuple[int, int] = (32, 32),
    seed: int = 0,
) -> Batch:
    """Random images; anomalous ones with a mask carry a square in their upper left quarter."""
    size = len(categories)
    height, width = image_size
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (size, 3, height, width), generator=generator)
    known = torch.tensor([True] * size if has_mask is None else list(has_mask))
    masks = torch.zeros(size, height, width, dtype=torch.bool)
    for row, label in enumerate(labels):
        if label and known[row]:
            masks[row, : height // 2, : width // 2] = True
    return Batch(
        images=images.to(torch.uint8),
        labels=torch.tensor(list(labels)),
        masks=masks,
        has_mask=known,
        categories=tuple(categories),
        defect_types=tuple("crack" if label else "good" for label in labels),
        paths=tuple(f"{row:03d}.png" for row in range(size)),
    )


def build_slot(path: Path, slot: str, kind: type) -> Any:
    """What a YAML under ``configs/`` puts in ``model.SLOT``, built as the command line does."""
    from jsonargparse import ArgumentParser

    content = with_fake_encoder(yaml.safe_load(path.read_text()))
    assert set(content) == {"model"}, f"{path.name} sets more than one slot"
    assert set(content["model"]) == {slot}, f"{path.name} sets more than one slot"
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{slot}", type=kind)
    return getattr(parser.instantiate_classes(parser.parse_object(content["model"])), slot)
