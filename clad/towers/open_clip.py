"""CLIP and its relatives through open_clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import open_clip
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import TextTransformer, text_global_pool
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_choice, expect_shape
from clad.towers.attention import fuse_self_attention
from clad.towers.base import EncoderParts, LayerHook, Tower
from clad.towers.open_clip_blocks import image_parts, replace_projection, text_parts
from clad.towers.open_clip_model import (
    build_model,
    lower_precision,
    make_tokenizer,
    read_architecture,
)
from clad.towers.open_clip_trunk import (
    TrunkOptions,
    at_least_float32,
    choose_layers,
    expect_fitting_options,
    expect_fitting_size,
)
from clad.towers.open_clip_visual import read_trunk, set_image_size
from clad.towers.open_clip_weights import find_weights, load_weights
from clad.types import ImageFeatures

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
POSITION_INTERPOLATIONS = ("bicubic", "bilinear")


class OpenClipTower(Tower):
    """Any two-tower model of open_clip, frozen.

    ``tokens`` are raw tokens of the trunk; ``summary`` is the trunk's image vector before the
    projection; ``patches`` and ``pooled`` have passed the model's own final norm and projection
    and are of unit length. Where a chosen layer of a convolutional trunk has another width than
    the last, there is no such projection and ``patches`` is None.

    Args:
        model_name: Architecture: a name that open_clip lists, the path of a JSON model config (or
            of an open_clip_config.json), or the config itself as a mapping.
        pretrained: Weights: a tag such as ``openai`` or ``laion400m_e32`` (downloaded once), the
            path of a .pt, .pth, .bin or .safetensors file, or ``random``. There is no default:
            a tower never falls back to random weights.
        random_seed: Decides random weights.
        image_size: (height, width) or one number for both; None is the model's own. Position
            embeddings are interpolated.
        position_interpolation: How: ``bicubic`` with antialiasing as in open_clip, or ``bilinear``
            without as in AnomalyCLIP.
        layers: Layers whose patch tokens come out, 1-based and ascending: transformer blocks, or
            stages of a convolutional trunk (for OpenAI's ResNets 1 is the stem). None is the last.
        vv_from_layer: From this transformer block (1-based) on, patches come from a parallel path
            of attention among values, which keeps them local; None is off. AnomalyCLIP's setting
            for ViT-L/14 is 6.
        cls_without_norm: Project the class token without the final norm, as AnomalyCLIP does;
            ``pooled`` then differs from open_clip's ``encode_image``.
        window_sides: Sides in patches of the square windows whose embeddings come out as
            ``windows``, at stride 1; WinCLIP's are 2 and 3. Windows cost several times the image.
        force_quick_gelu: Build the architecture with quick-GELU. OpenAI's weights insist on it.
        precision: ``fp32``, or ``bf16`` for matrices in bfloat16. Features come out in float32.

    Raises:
        FileNotFoundError: If weights or config are not there and cannot be downloaded.
        ValueError: If a name is unknown or arguments do not fit each other or the weights.

    Source: CLIP (Radford et al., ICML 2021, arXiv:2103.00020); OpenCLIP (Cherti et al., CVPR 2023,
    arXiv:2212.07143).
    """

    def __init__(
        self,
        model_name: str | dict[str, Any] = "ViT-B-16",
        pretrained: str | None = None,
        random_seed: int = 0,
        image_size: int | tuple[int, int] | None = None,
        layers: tuple[int, ...] | None = None,
        vv_from_layer: int | None = None,
        force_quick_gelu: bool = False,
        precision: Literal["fp32", "bf16"] = "fp32",
        position_interpolation: Literal["bicubic", "bilinear"] = "bicubic",
        cls_without_norm: bool = False,
        window_sides: tuple[int, ...] = (),
    ) -> None:
        expect_choice("precision", precision, DTYPES)
        expect_choice("position_interpolation", position_interpolation, POSITION_INTERPOLATIONS)
        architecture = read_architecture(model_name, force_quick_gelu)
        source = find_weights(architecture, pretrained)
        model = build_model(architecture, random_seed, DTYPES[precision])
        trunk = read_trunk(model.visual, architecture.name)
        own_size = _pair(model.visual.image_size)
        size = own_size if image_size is None else _pair(image_size)
        if size != own_size:
            expect_fitting_size(size, trunk)
        chosen = choose_layers(layers, trunk, architecture.name)
        options = TrunkOptions(chosen, vv_from_layer, cls_without_norm, tuple(window_sides))
        expect_fitting_options(options, trunk, size, architecture.name)
        tokenizer = make_tokenizer(architecture)
        if not source.is_random:
            load_weights(model, architecture, source)
        if size != own_size:
            set_image_size(model.visual, size, position_interpolation)
        logit_scale = float(model.logit_scale.detach().exp())
        if precision != "fp32":
            lower_precision(model, DTYPES[precision])
        fuse_self_attention(model)
        if trunk.is_convolutional:
            model.visual.to(memory_format=torch.channels_last)
        pixels = source.preprocess
        super().__init__(size, pixels["mean"], pixels["std"], pixels["interpolation"])
        self.model = model
        self.layers = chosen
        self.window_sides = options.window_sides
        self.options = options
        self.precision = precision
        self.logit_scale = logit_scale
        self.is_aligned = not source.is_random
        self.embed_dim = int(architecture.config["embed_dim"])
        self.summary_dim = trunk.summary_dim
        takes_prompts = trunk.takes_hook and vv_from_layer is None and not window_sides
        self.image_prompt_dim = trunk.summary_dim if takes_prompts else None
        self.image_prompt_layers = len(trunk.token_dims) if takes_prompts else 0
        self.token_dims = tuple(trunk.token_dims[layer - 1] for layer in chosen)
        self._trunk = trunk
        self._tokenizer = tokenizer
        self._context_length = int(getattr(tokenizer, "context_length", model.context_length))
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Features of normalised pixels (B, 3, *image_size); see the class for what each is."""
        expect_shape("pixels", pixels, (None, 3, *self.image_size))
        if self.precision != "fp32":
            pixels = pixels.to(DTYPES[self.precision])
        if self._trunk.is_convolutional:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        options, context = self.options, None
        if self.image_prompts is not None:
            with torch.no_grad():
                plain = self._trunk.encode(self.model.visual, pixels, options)
            context = at_least_float32(plain.pooled)
            options = replace(options, layer_hook=self.image_prompts(context))
        output = self._trunk.encode(self.model.visual, pixels, options)
        return ImageFeatures(
            tokens=tuple(at_least_float32(tokens) for tokens in output.tokens),
            grids=output.grids,
            summary=at_least_float32(output.summary),
            patches=None if output.patches is None else tuple(map(_unit, output.patches)),
            pooled=_unit(output.pooled),
            embedding=at_least_float32(output.pooled),
            windows=tuple(map(_unit, output.windows)) or None,
            window_sides=self.window_sides,
            context=context,
        )

    @property
    def _text(self) -> open_clip.CLIP | TextTransformer | HFTextEncoder:
        """The module that holds the text tower; in plain CLIP models that is the model itself."""
        return getattr(self.model, "text", self.model)

    @property
    def _pool_type(self) -> str:
        return getattr(self.model, "text_pool_type", None) or self._text.pool_type

    @property
    def _eos_id(self) -> int | None:
        return getattr(self.model, "text_eos_id", getattr(self._text, "eos_id", None))

    @property
    def _truncates(self) -> bool:
        """Whether tokens after the end cannot be felt: causal attention, pooled at the end."""
        if isinstance(self._text, HFTextEncoder) or self._text.attn_mask is None:
            return False
        return self._pool_type in ("argmax", "eos")

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(N, T) int64 ids on the tower's device.

        T is the longest text of the call where that is exact (causal attention, pooled at the end
        of the text), else the model's whole context.

        Raises:
            ValueError: If a text is longer than the context, with both lengths.
        """
        for text in texts:
            length = self._num_tokens(text)
            if length > self._context_length:
                raise ValueError(
                    f"expected at most {self._context_length} tokens, got {length} in "
                    f"{text[:60]!r}...; shorten the text"
                )
        ids = self._tokenizer(list(texts)).to(self.mean.device)
        if self._truncates:
            ends = (ids == self._eos_id).int() if self._pool_type == "eos" else ids
            ids = ids[:, : int(ends.argmax(-1).max()) + 1]
        return ids

    def _num_tokens(self, text: str) -> int:
        if hasattr(self._tokenizer, "encode"):
            return len(self._tokenizer.encode(text)) + 2  # start and end of text
        clean = getattr(self._tokenizer, "clean_fn", str)
        return len(self._tokenizer.tokenizer(clean(text)).input_ids)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """(N, T, W) float token embeddings, before positions."""
        ids = ids.to(self.mean.device)
        if isinstance(self._text, HFTextEncoder):
            return self._text.transformer.get_input_embeddings()(ids)
        return self._text.token_embedding(ids)

    def encode_embeddings(
        self, embeddings: Tensor, ids: Tensor, layer_hook: LayerHook | None = None
    ) -> Tensor:
        """(N, D) text embeddings, not normalised; differentiable in ``embeddings``.

        Args:
            embeddings: (N, T, W) float.
            ids: (N, T) int64 ids that pooling and attention masks are read from.
            layer_hook: ``(layer index from 0, (N, T, W) states) -> states``, called before each
                transformer block.

        Raises:
            ValueError: If T is not that of ``ids`` or exceeds the context, or a Hugging Face text
                tower is given a hook.
        """
        expect_shape("embeddings", embeddings, (*ids.shape, None))
        ids = ids.to(embeddings.device)
        text, length = self._text, ids.shape[1]
        if isinstance(text, HFTextEncoder):
            return self._encode_hugging_face(text, embeddings, ids, layer_hook)
        if length > text.positional_embedding.shape[0]:
            raise ValueError(
                f"expected at most {text.positional_embedding.shape[0]} tokens, got {length}; "
                "shorten the text or the learnable context"
            )
        dtype = text.transformer.get_cast_dtype()
        states = embeddings.to(dtype) + text.positional_embedding[:length].to(dtype)
        mask = None if text.attn_mask is None else text.attn_mask[:length, :length]
        for index, block in enumerate(text.transformer.resblocks):
            if layer_hook is not None:
                states = layer_hook(index, states)
            states = block(states, attn_mask=mask)
        states = text.ln_final(states)
        pooled = text_global_pool(states, ids, self._pool_type, eos_token_id=self._eos_id)
        projection = text.text_projection
        if isinstance(projection, nn.Module):
            pooled = projection(pooled)
        elif projection is not None:
            pooled = pooled @ projection
        return at_least_float32(pooled)

    def _encode_hugging_face(
        self, text: HFTextEncoder, embeddings: Tensor, ids: Tensor, layer_hook: LayerHook | None
    ) -> Tensor:
        if layer_hook is not None:
            raise ValueError(
                "expected no layer_hook for a Hugging Face text tower, got one; deep prompt tokens "
                "need one of open_clip's own text towers, e.g. ViT-B-16"
            )
        mask = (ids != text.config.pad_token_id).long()
        output = text.transformer(inputs_embeds=embeddings, attention_mask=mask)
        return at_least_float32(text.proj(text.pooler(output, mask)))

    def image_parts(self) -> EncoderParts:
        """Blocks of the trunk; then its norm or pool, and the projection."""
        return image_parts(self.model.visual)

    def text_parts(self) -> EncoderParts:
        """Blocks of open_clip's own text transformers; then norm and projection."""
        return text_parts(self._text)

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """All weights but those of the image tower."""
        named = self.model.named_parameters()
        return (weight for name, weight in named if not name.startswith("visual."))

    def replace_text_projection(self, projection: nn.Module) -> None:
        """Let text embeddings be ``projection`` of the normed states at the end of the text."""
        replace_projection(self._text, projection)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _unit(features: Tensor) -> Tensor:
    return functional.normalize(at_least_float32(features), dim=-1)
