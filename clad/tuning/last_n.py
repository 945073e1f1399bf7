"""The last blocks of the encoders learn."""

from __future__ import annotations

from clad.towers.base import EncoderParts, Tower
from clad.tuning.base import Tuning


class LastN(Tuning):
    """Train the last blocks of either encoder, with the norm and projection after them.

    Everything before them stays as it was loaded, and in evaluation mode: dropout is off there and
    running statistics of batch normalisation do not drift.

    Args:
        image_blocks: How many blocks of the image encoder learn, >= 0; 0 leaves that side frozen.
        text_blocks: How many blocks of the text encoder learn, >= 0; 0 leaves that side frozen.
        final: Whether the weights after the last block learn, too, on a side that learns.

    Raises:
        ValueError: If both are 0 or one is negative.
    """

    def __init__(self, image_blocks: int = 2, text_blocks: int = 0, final: bool = True) -> None:
        if min(image_blocks, text_blocks) < 0 or not (image_blocks or text_blocks):
            raise ValueError(
                f"expected a number of last blocks >= 0 and one of them >= 1, got image_blocks "
                f"{image_blocks} and text_blocks {text_blocks}; use configs/tuning/frozen.yaml to "
                "train none"
            )
        self.image_blocks = image_blocks
        self.text_blocks = text_blocks
        self.final = final

    def apply(self, tower: Tower) -> None:
        """Let gradients into the chosen blocks.

        Raises:
            ValueError: If the tower has fewer blocks, or does not tell them.
        """
        tower.freeze()
        if self.image_blocks:
            self._train(tower.image_parts(), self.image_blocks, "image_blocks")
        if self.text_blocks:
            self._train(tower.text_parts(), self.text_blocks, "text_blocks")

    def _train(self, parts: EncoderParts, count: int, name: str) -> None:
        if count > len(parts.blocks):
            raise ValueError(
                f"expected {name} of at most {len(parts.blocks)}, which is all this tower has, got "
                f"{count}; lower it, or train everything with configs/tuning/full.yaml"
            )
        for block in parts.blocks[-count:]:
            block.module.requires_grad_(True)
        if self.final:
            for weight in parts.final:
                weight.requires_grad_(True)
