"""torchvision's SqueezeNet, without words: the lightest baseline with published weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchvision import models
from torchvision.models.squeezenet import Fire

from clad.checks import expect_choice
from clad.towers.base import Block, EncoderParts
from clad.towers.image_only import ImageOnlyTower
from clad.towers.pyramid import through_stages
from clad.towers.weight_files import RANDOM, expect_weight_file, fill, read_weights
from clad.types import ImageFeatures

DOWNLOAD = "download"
_SMALLEST_PX = 32
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_VERSIONS = {
    "1_0": (models.squeezenet1_0, models.SqueezeNet1_0_Weights.IMAGENET1K_V1),
    "1_1": (models.squeezenet1_1, models.SqueezeNet1_1_Weights.IMAGENET1K_V1),
}


class SqueezeNetTower(ImageOnlyTower):
    """SqueezeNet without its classifier; timm has none.

    ``tokens`` are maps after the chosen Fire modules; ``summary`` is the mean of the last. The
    published classifier is a convolution to the classes with a ReLU, and then the mean; a linear
    head on ``summary`` is the same without the ReLU.

    Source: SqueezeNet (Iandola et al., 2016, arXiv:1602.07360); torchvision's version 1.1 needs 2.4
    times less work than 1.0 at the same accuracy.

    Args:
        version: ``1_0`` or ``1_1``.
        pretrained: ``download`` for torchvision's ImageNet weights (once), the path of a .pth,
            .pt, .bin or .safetensors file, or ``random``. There is no default.
        random_seed: Decides random weights.
        image_size: Side in pixels, or (height, width).
        layers: Fire modules whose tokens come out, 1 to 8, ascending.

    Raises:
        FileNotFoundError: If weights are not there and cannot be downloaded.
        ValueError: If an argument is unknown, or weights do not fit.
    """

    def __init__(
        self,
        version: Literal["1_0", "1_1"] = "1_1",
        pretrained: str | None = None,
        random_seed: int = 0,
        image_size: int | tuple[int, int] = 224,
        layers: tuple[int, ...] = (8,),
    ) -> None:
        expect_choice("version", version, _VERSIONS)
        build, weights = _VERSIONS[version]
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(size) < _SMALLEST_PX:
            raise ValueError(f"expected image_size of at least {_SMALLEST_PX}, got {image_size}")
        super().__init__(size, *_IMAGENET, "bilinear")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            model = build(weights=None)
        if pretrained != RANDOM:
            fill(model, _read(pretrained, weights), f"weights of squeezenet{version}")
        self.features = model.features.to(memory_format=torch.channels_last)
        fires = [place for place, part in enumerate(model.features) if isinstance(part, Fire)]
        if not layers or list(layers) != sorted(set(layers) & set(range(1, len(fires) + 1))):
            raise ValueError(
                f"expected layers between 1 and {len(fires)}, ascending, got {tuple(layers)}"
            )
        self.layers = tuple(layers)
        self._stages = tuple(fires[layer - 1] for layer in layers)
        self.token_dims = tuple(_width(model.features[place]) for place in self._stages)
        self.summary_dim = _width(model.features[fires[-1]])
        self.embed_dim = self.summary_dim
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Tokens of the chosen Fire modules (B, P_l, C_l), and the mean of the last."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        tokens, grids, last = through_stages(list(self.features), self._stages, pixels)
        return ImageFeatures(tokens, grids, summary=last.mean((2, 3)))

    def image_parts(self) -> EncoderParts:
        """The Fire modules; nothing comes after them."""
        fires = [part for part in self.features if isinstance(part, Fire)]
        return EncoderParts(tuple(Block(fire, _width(fire), channels_dim=1) for fire in fires), ())


def _width(fire: Fire) -> int:
    return fire.expand1x1.out_channels + fire.expand3x3.out_channels


def _read(pretrained: str | None, weights: models.WeightsEnum) -> dict[str, Tensor]:
    choices = f"{DOWNLOAD!r}, a file or {RANDOM!r}"
    if not pretrained:
        raise ValueError(
            f"expected pretrained to name weights of SqueezeNet, got none; give {choices}"
        )
    if pretrained != DOWNLOAD:
        return read_weights(expect_weight_file(pretrained, "SqueezeNet", choices))
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # network and disk raise dozens of types; all mean the same
        raise FileNotFoundError(
            f"expected weights from {weights.url}, got {type(error).__name__}; download the file "
            "where there is a network and pass its path as pretrained"
        ) from error
    return state
