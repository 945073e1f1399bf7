"""RepDFD's visual reprogramming: a small image inside a learned border."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_range, expect_shape
from clad.features import crop_grids
from clad.inputs.base import InputTransform
from clad.towers.base import Tower
from clad.types import ImageFeatures


class LearnableBorder(InputTransform):
    """``pad_p(resize(image)) + delta``: the image shrinks, and what surrounds it is learned.

    The image is resized straight to (H - 2p, W - 2p) and normalised; p pixels of zeros (the mean
    colour) are put around it, and the learned delta is added to them. Delta lives in normalised
    pixel space, starts at zero and is not bounded. It has 6 p (H + W) - 12 p^2 numbers, 77,520 for
    224 x 224 pixels and p = 34; inside there is nothing that could learn.

    Features come back on the image, not on the padded frame: tokens and patches are resampled on a
    grid over the inner rectangle, so that masks, maps and regions fit. The image embedding is that
    of the whole frame.

    Source: RepDFD (Lin et al., AAAI 2025, arXiv:2409.02664), input transformation; where
    normalisation comes is read from its code.

    Args:
        padding: p, width of the border in pixels of the tower's frame, at least 1.
        gain: Multiplier of the learned numbers, > 0; delta is their product. An optimiser that
            ignores the scale of gradients (AdamW) moves delta by ``gain`` times its learning rate:
            1 is RepDFD with its rate of 1.0, more lets a border learn beside an adapter, at the
            adapter's rate.
    """

    places: Tensor

    def __init__(self, padding: int = 34, gain: float = 1.0) -> None:
        super().__init__()
        expect_range("padding", padding, 1, float("inf"))
        expect_range("gain", gain, 1e-6, 1e6)
        self.padding = padding
        self.gain = gain
        self.frame = (0, 0)

    def attach(self, tower: Tower) -> None:
        """Create the border for the tower's size.

        Raises:
            ValueError: If no image is left inside, or the tower looks through windows.
        """
        height, width = tower.image_size
        if 2 * self.padding >= min(height, width):
            raise ValueError(
                f"expected padding below {min(height, width) / 2:g} pixels for a tower of "
                f"{height} x {width}, got {self.padding}; nothing of the image would be left"
            )
        if tower.window_sides:
            raise ValueError(
                f"expected a tower without windows for {type(self).__name__}, got window_sides "
                f"{tower.window_sides}, which would look at the border, too; set them to []"
            )
        self.frame = (height, width)
        inside = torch.zeros(height, width, dtype=torch.bool)
        inside[self._inner] = True
        places = (~inside).flatten().nonzero().squeeze(1)
        self.register_buffer("places", places, persistent=False)
        self.border = nn.Parameter(torch.zeros(3, len(places)))

    @property
    def _inner(self) -> tuple[slice, slice]:
        height, width = self.frame
        return slice(self.padding, height - self.padding), slice(self.padding, width - self.padding)

    @property
    def delta(self) -> Tensor:
        """(3, H, W) float what is added to the padded image; exactly zero inside."""
        height, width = self.frame
        empty = self.border.new_zeros(3, height * width)
        return empty.index_copy(1, self.places, self.gain * self.border).view(3, height, width)

    def prepare(self, images: Tensor, tower: Tower) -> Tensor:
        """(B, 3, H - 2p, W - 2p) normalised pixels."""
        height, width = self.frame
        return tower.prepare(images, (height - 2 * self.padding, width - 2 * self.padding))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) the image in its border."""
        height, width = self.frame
        inner = (height - 2 * self.padding, width - 2 * self.padding)
        expect_shape("pixels", pixels, (None, 3, *inner))
        return functional.pad(pixels, (self.padding,) * 4) + self.delta

    def restore(self, features: ImageFeatures) -> ImageFeatures:
        """Features whose grids cover the inner rectangle alone."""
        height, width = self.frame
        return crop_grids(features, (self.padding / height, self.padding / width))
